-- A schema that produces messages: what was accepted, and what of it is not done yet.

CREATE TABLE messages (
    id             uuid PRIMARY KEY,               -- UUIDv7, made by the producer
    type           text NOT NULL,
    shop           text NOT NULL,                  -- '' where no shop is concerned
    key            text,                           -- idempotency key of the caller, e.g. X-Shopify-Webhook-Id
    time           timestamptz NOT NULL,           -- when it happened, by whoever says so
    created_at     timestamptz NOT NULL DEFAULT now(),
    subject        text,
    dataschema     text,
    content_type   text NOT NULL,
    traceparent    text,
    correlation_id text,
    headers        jsonb,
    body           bytea NOT NULL
);
-- The race between two deliveries of one webhook ends here, not in a check before the insert.
CREATE UNIQUE INDEX messages_key ON messages (key, shop) WHERE key IS NOT NULL;

CREATE TABLE outbox (
    destination  text NOT NULL,
    lane         text NOT NULL,
    id           uuid NOT NULL,
    holder       text,                             -- 'broker:<producer>' or 'worker:<instance>'; NULL is free
    leased_until timestamptz,                      -- not indexed, so that leasing is a HOT update
    ready_at     timestamptz NOT NULL DEFAULT now(),
    deliveries   smallint NOT NULL DEFAULT 0,      -- times it was claimed, or redelivered by the broker
    suspicions   smallint NOT NULL DEFAULT 0,      -- times it was started alone because earlier holders vanished
    attempt      smallint NOT NULL DEFAULT 0,      -- failed attempts since it was accepted or replayed
    log          jsonb,                            -- every failed attempt so far
    PRIMARY KEY (destination, lane, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_cost_delay = 0);

CREATE TABLE duplicates (
    counter text PRIMARY KEY,                      -- one row per producer process, so that they never wait for each other
    total   bigint NOT NULL
);

-- Before its first ANALYZE, PostgreSQL 15 takes the outbox for so small that looking through a whole lane seems as good
-- as looking up ids; the first flood would come before autovacuum does. So it is shown what a row looks like.
INSERT INTO outbox (destination, lane, id) SELECT 'worker', 'default', gen_random_uuid() FROM generate_series(1, 100);
ANALYZE outbox;
TRUNCATE outbox;
