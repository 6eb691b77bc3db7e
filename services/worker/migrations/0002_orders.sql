-- A mirror of each shop's orders: what an app asks for most, and nothing about people.
CREATE TABLE worker.orders (
    shop               text NOT NULL,
    order_id           bigint NOT NULL,
    name               text,                       -- as the merchant sees it, e.g. #1001
    currency           text,
    total_price        numeric,
    financial_status   text,
    fulfillment_status text,
    cancelled_at       timestamptz,
    deleted            boolean NOT NULL DEFAULT false,
    updated_at         timestamptz NOT NULL,       -- of the payload that was kept; what is older has no effect
    triggered_at       timestamptz NOT NULL,       -- decides between payloads of one second, which updated_at cannot
    PRIMARY KEY (shop, order_id)
);
