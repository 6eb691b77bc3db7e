-- Which per_shop slots are in use, beside the session locks that decide. A row that outlives its session's lock says that
-- its holder lost the lock and may not know it yet. Unlogged: after a crash of Postgres everybody waits in any case.

CREATE UNLOGGED TABLE slots (
    key      integer NOT NULL,                     -- a hash of the handler and the shop
    number   integer NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (key, number)
);
