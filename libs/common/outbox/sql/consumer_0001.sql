-- A schema whose service works on messages: where one stands that is not in an outbox.

CREATE TABLE scheduled (
    source      text NOT NULL,                     -- the schema whose outbox it returns to
    message_id  uuid NOT NULL,
    lane        text NOT NULL,
    due_at      timestamptz NOT NULL,
    reason      text NOT NULL,                     -- retry, later, delay, busy
    attempt     smallint NOT NULL DEFAULT 0,
    log         jsonb,
    PRIMARY KEY (source, message_id)
);
CREATE INDEX scheduled_due ON scheduled (source, due_at);

CREATE TABLE failed (
    source      text NOT NULL,
    message_id  uuid NOT NULL,
    type        text NOT NULL,
    shop        text NOT NULL,
    lane        text NOT NULL,
    reason      text NOT NULL,                     -- exhausted, never, poison
    error       text NOT NULL,
    attempts    integer NOT NULL,
    log         jsonb,
    created_at  timestamptz NOT NULL,
    failed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (source, message_id)
);

CREATE TABLE history (
    message_id  uuid PRIMARY KEY,
    source      text NOT NULL,
    type        text NOT NULL,
    shop        text NOT NULL,
    lane        text NOT NULL,
    outcome     text NOT NULL,                     -- completed, unhandled, cancelled
    handler     text,
    attempts    integer NOT NULL,
    log         jsonb,                             -- the attempts that failed before
    route       text NOT NULL,                     -- rabbitmq or postgres
    created_at  timestamptz NOT NULL,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE schedules (
    name        text PRIMARY KEY,
    last_tick   timestamptz NOT NULL
);
