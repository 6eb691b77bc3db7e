-- What shoppers do, a partition for each day. The day is that of the event's own time: a repeated event says the same
-- time again and so meets itself in the same partition, however late it comes. Days without a partition, which only a
-- clock that is far off can name, go into the default one; when a partition is made its rows move over (docs/ingest.md).
CREATE TABLE pixel_events (
    day         date NOT NULL,                     -- of occurred_at, in UTC
    shop        text NOT NULL,
    event_id    text NOT NULL,
    name        text NOT NULL,
    kind        text NOT NULL,                     -- standard, custom, dom, advanced-dom, meta
    client_id   text,
    seq         bigint,
    occurred_at timestamptz NOT NULL,              -- by the visitor's clock
    received_at timestamptz NOT NULL,              -- by ours
    marks       smallint NOT NULL,                 -- libs/common/shopify/pixel_marks.py
    version     text,                              -- of the pixel that sent it
    content     jsonb NOT NULL,                    -- all else that the event said, sanitised
    PRIMARY KEY (shop, event_id, day)
) PARTITION BY RANGE (day);

CREATE INDEX pixel_events_time ON pixel_events (shop, occurred_at, event_id);
CREATE INDEX pixel_events_client ON pixel_events (shop, client_id, seq) INCLUDE (name, marks, day);

CREATE TABLE pixel_events_default PARTITION OF pixel_events DEFAULT;
CREATE INDEX pixel_events_default_day ON pixel_events_default (day);
CREATE INDEX pixel_events_default_received ON pixel_events_default (received_at);
