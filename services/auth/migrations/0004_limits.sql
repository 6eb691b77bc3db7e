-- Who began an install, so that nobody can begin any number: a keyed hash, since an address is of a person.
ALTER TABLE states ADD COLUMN sender bytea;
ALTER TABLE states ADD COLUMN launched boolean NOT NULL DEFAULT false;  -- Shopify signed the request that began it
CREATE INDEX states_shop ON states (shop);
CREATE INDEX states_sender ON states (sender);
