-- Jobs that fetch all orders, products or customers that changed since a moment, through a bulk operation of Shopify's.
-- Whoever holds a row's lease takes its next step; the row says how far the job is, so that anybody can go on.
CREATE TABLE backfills (
    id           uuid PRIMARY KEY,                 -- UUIDv7
    shop         text NOT NULL,
    resource     text NOT NULL,                    -- orders, products, customers
    since        timestamptz NOT NULL,             -- only what was updated at or after it
    status       text NOT NULL,                    -- waiting, running, reading, cancelling; completed, failed, cancelled
    reason       text,                             -- why it waits, or how it ended
    attempt      smallint NOT NULL DEFAULT 1,      -- bulk operations that were needed
    asked_at     timestamptz,                      -- written before Shopify is asked: from then on one may run
    operation    text,                             -- the bulk operation's gid, once it is known
    snapshot_at  timestamptz,                      -- when it was created: what it tells is not older
    file_lines   bigint NOT NULL DEFAULT 0,        -- objects in its file, as far as Shopify says
    position     bigint NOT NULL DEFAULT 0,        -- bytes of the file that are taken in
    lines        bigint NOT NULL DEFAULT 0,        -- the same in lines
    accepted     bigint NOT NULL DEFAULT 0,        -- orders, products or customers that became messages
    repeated     bigint NOT NULL DEFAULT 0,        -- that had become messages before, by an earlier bulk operation
    withheld     bigint NOT NULL DEFAULT 0,        -- of people or shops that were erased meanwhile
    failures     integer NOT NULL DEFAULT 0,       -- steps that failed in a row
    stalled_at   timestamptz,                      -- since when Shopify lets no step succeed
    created_at   timestamptz NOT NULL DEFAULT now(),
    due_at       timestamptz NOT NULL DEFAULT now(),
    ended_at     timestamptz,
    holder       text,
    leased_until timestamptz
);
CREATE INDEX backfills_due ON backfills (due_at) WHERE ended_at IS NULL;
-- One at a time for each shop and resource: two would feed the same objects twice.
CREATE UNIQUE INDEX backfills_open ON backfills (shop, resource) WHERE ended_at IS NULL;
CREATE INDEX backfills_shop ON backfills (shop, id);
