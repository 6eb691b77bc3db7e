-- Requests of merchants and their customers for their data, or to be forgotten. Once a case is over, only keyed hashes
-- and numbers are left of it.
CREATE TABLE privacy_cases (
    id             uuid PRIMARY KEY,               -- of the message that opened it
    kind           text NOT NULL,                  -- data_request, customer_redact, shop_redact
    status         text NOT NULL,                  -- open, ready (data waits for the merchant), done, superseded
    shop           text,                           -- NULL once the shop was erased
    shop_mark      bytea NOT NULL,
    subject_mark   bytea NOT NULL,
    subject        jsonb,                          -- whom it is about; NULL once that is not needed any more
    request_id     bigint,                         -- Shopify's number of a data request
    message_source text NOT NULL,                  -- whose payload names the person, until the case is over
    requested_at   timestamptz NOT NULL,
    opened_at      timestamptz NOT NULL,
    due_at         timestamptz NOT NULL,
    ready_at       timestamptz,
    ended_at       timestamptz,
    reason         text,                           -- why it was superseded
    repeats        uuid,                           -- the case whose receipt this one has: there was nothing left to erase
    receipt        jsonb
);
CREATE INDEX privacy_cases_open ON privacy_cases (kind, requested_at) WHERE ended_at IS NULL;
CREATE INDEX privacy_cases_subject ON privacy_cases (subject_mark, ended_at);
CREATE INDEX privacy_cases_shop ON privacy_cases (shop_mark);

CREATE TABLE privacy_steps (
    case_id     uuid NOT NULL REFERENCES privacy_cases ON DELETE CASCADE,
    service     text NOT NULL,
    place       smallint NOT NULL,                 -- one after the other
    asked_at    timestamptz,
    answered_at timestamptz,
    rows        jsonb,                             -- how many, by table
    found       bigint NOT NULL DEFAULT 0,         -- of these, how many were more than requests and traces of work
    PRIMARY KEY (case_id, service)
);

-- What was found for a data request, until the merchant has it.
CREATE TABLE privacy_items (
    case_id uuid NOT NULL REFERENCES privacy_cases ON DELETE CASCADE,
    service text NOT NULL,
    part    integer NOT NULL,
    content bytea NOT NULL,                        -- a JSON array; not jsonb, which refuses some of what payloads hold
    PRIMARY KEY (case_id, service, part)
);
