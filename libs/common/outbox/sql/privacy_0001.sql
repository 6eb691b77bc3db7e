-- A schema whose service erases people and shops: who must not come back by a late message, and how far an erasure is.

CREATE TABLE privacy_tombstones (
    mark       bytea PRIMARY KEY,                  -- keyed hash of a shop, or of a shop and something that names a person
    shop_mark  bytea NOT NULL,
    before     timestamptz NOT NULL,               -- what was triggered later is welcome
    expires_at timestamptz NOT NULL
);
CREATE INDEX privacy_tombstones_expired ON privacy_tombstones (expires_at);

-- Rows go in many small transactions; what each of them erased is counted with it, so that a crash loses no count.
CREATE TABLE privacy_progress (
    case_id uuid NOT NULL,
    place   text NOT NULL,                         -- schema.table
    erased  bigint NOT NULL,
    PRIMARY KEY (case_id, place)
);
