-- The last requests that were turned away, for the one question after a deploy: why does Shopify not get through?
CREATE TABLE rejected (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL,
    reason      text NOT NULL,
    shop        text,                              -- as the request called itself: nothing here was verified
    topic       text,
    webhook_id  text,
    remote      text,
    user_agent  text,
    body_bytes  bigint,                            -- NULL where the body was not read
    detail      text NOT NULL
);

-- The deliveries log is the messages themselves, so that a payload is stored once.
CREATE VIEW deliveries AS
SELECT id AS message_id,
       shop,
       coalesce(headers ->> 'shopify-topic', headers ->> 'x-shopify-topic') AS topic,
       key AS webhook_id,
       correlation_id AS event_id,
       dataschema AS api_version,
       time AS triggered_at,
       headers,
       body,
       created_at AS received_at,
       type,
       content_type
FROM messages
WHERE type LIKE 'webhook.%';
