-- What every process that calls the Admin API shares (libs/common/shopify/admin): how many points of each shop's bucket
-- are not leased. Unlogged, so that a lease waits for no disk: after a crash of Postgres the table is empty, and each
-- shop begins low until Shopify's next answer tells.

CREATE SCHEMA IF NOT EXISTS shopify;

CREATE UNLOGGED TABLE shopify.budgets (
    shop      text PRIMARY KEY,
    available double precision NOT NULL,           -- points, at the time `at`; restored by `rate` per second up to a cap
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    maximum   double precision NOT NULL,           -- as Shopify told, in points
    rate      double precision NOT NULL,           -- points per second
    known     boolean NOT NULL DEFAULT false       -- whether Shopify has told
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
        autovacuum_vacuum_cost_delay = 0);
