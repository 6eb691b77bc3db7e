-- Which per_shop slots are in use, beside the session locks that decide. A row that outlives its session's lock says that
-- its holder lost the lock and may not know it yet. Unlogged: a crash of Postgres empties it,
-- and with it the marker whose absence says that there was a crash.

CREATE UNLOGGED TABLE slots (
    key      integer NOT NULL,                     -- a hash of the handler and the shop
    number   integer NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (key, number)
);
INSERT INTO slots (key, number) VALUES (0, -1);
