-- What has arrived of each order, product and customer: the newest state, read from the stored payloads.
CREATE TABLE arrivals (
    shop         text NOT NULL,
    family       text NOT NULL,                    -- orders, products, customers
    resource_id  bigint NOT NULL,
    updated_at   timestamptz NOT NULL,             -- by the payload, to the second as Shopify writes it
    topics       text[] NOT NULL,                  -- of those that tell of a moment, like orders/create
    PRIMARY KEY (shop, family, resource_id)
) WITH (fillfactor = 90);

-- Since when, and up to which message they have been read.
CREATE TABLE arrivals_read (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    since  timestamptz NOT NULL DEFAULT now() - interval '1 day',  -- no shop is compared from before it
    upto   uuid
);
INSERT INTO arrivals_read DEFAULT VALUES;

-- Each shop that is compared with Shopify: when next, and who is at it.
CREATE TABLE reconciled_shops (
    shop          text PRIMARY KEY,
    generation    bigint NOT NULL,                 -- of the install, as in subscription_shops
    known_at      timestamptz NOT NULL DEFAULT now(),
    since         timestamptz NOT NULL,            -- what happened before was sent to nobody
    due_at        timestamptz NOT NULL,
    asked         boolean NOT NULL DEFAULT false,  -- by a person: the hour that has begun is looked at too
    holder        uuid,                            -- the run under way
    leased_until  timestamptz,
    begun_at      timestamptz,                     -- the run that has not ended, in however many turns
    ended_at      timestamptz,                     -- the last run, however it ended
    checked_at    timestamptz,                     -- the last run that came to its end
    proven_until  timestamptz,                     -- nothing before it is missing
    denied        text[] NOT NULL DEFAULT '{}',    -- families whose scope the app does not have
    families      jsonb NOT NULL DEFAULT '{}',     -- those that are compared, each with since when
    error         text                             -- why the last run did not come to its end
);
CREATE INDEX reconciled_shops_due ON reconciled_shops (due_at);

-- The ledger: for each hour what Shopify says changed then, and what had come of it at the last look.
CREATE TABLE reconciled_hours (
    shop        text NOT NULL,
    family      text NOT NULL,
    hour        timestamptz NOT NULL,              -- its beginning; whole hours of UTC
    until       timestamptz NOT NULL,              -- of the hour so much was looked at
    at_shopify  int NOT NULL,                      -- resources whose last change fell into it: arrived + reconciled + missing
    arrived     int NOT NULL,                      -- by a webhook of Shopify's
    reconciled  int NOT NULL,                      -- by the reconciler alone
    missing     int NOT NULL,                      -- could not be fed; looked at again by every run
    checked_at  timestamptz NOT NULL,
    PRIMARY KEY (shop, family, hour)
);
CREATE INDEX reconciled_hours_missing ON reconciled_hours (shop, hour) WHERE missing > 0;

-- Every webhook that had not come and was fed by the reconciler, or could not be.
CREATE TABLE reconciled (
    shop         text NOT NULL,
    family       text NOT NULL,
    resource_id  bigint NOT NULL,
    updated_at   timestamptz NOT NULL,             -- of the state that was missing
    topic        text NOT NULL,
    found_at     timestamptz NOT NULL DEFAULT now(),
    message_id   uuid,                             -- NULL where it could not be fed
    problem      text,
    late_at      timestamptz,                      -- Shopify's own webhook came after all
    PRIMARY KEY (shop, family, resource_id, updated_at, topic)
);
CREATE INDEX reconciled_shop ON reconciled (shop, updated_at);
CREATE INDEX reconciled_missing ON reconciled (topic) WHERE message_id IS NULL;

-- A reconciled payload is of a schema of its own: `2026-10+reconciled`.
CREATE OR REPLACE VIEW deliveries AS
SELECT id AS message_id,
       shop,
       coalesce(headers ->> 'shopify-topic', headers ->> 'x-shopify-topic') AS topic,
       key AS webhook_id,
       correlation_id AS event_id,
       split_part(dataschema, '+', 1) AS api_version,
       time AS triggered_at,
       headers,
       body,
       created_at AS received_at,
       type,
       content_type,
       nullif(split_part(dataschema, '+', 2), '') AS origin
FROM messages
WHERE type LIKE 'webhook.%';
