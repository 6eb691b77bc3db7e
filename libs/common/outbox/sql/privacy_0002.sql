-- A schema that looks its tombstones up shop by shop, in the transaction that puts what came from elsewhere.

CREATE INDEX privacy_tombstones_shop ON privacy_tombstones (shop_mark);
