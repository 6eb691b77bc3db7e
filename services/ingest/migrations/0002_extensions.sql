-- The app's web pixel on a shop. A row stays when the app goes, so that a reinstall finds what the merchant wanted.
CREATE TABLE extensions (
    shop           text PRIMARY KEY,
    wanted         boolean NOT NULL,               -- the merchant has it on; an uninstall does not change that
    active         boolean NOT NULL,               -- events are taken in
    pixel_id       text,                           -- Shopify's id of it, as far as we know
    hosts          text[] NOT NULL DEFAULT '{}',   -- where the shop's pages are, beside its myshopify.com domain
    generation     integer NOT NULL DEFAULT 0,     -- the newest install that was heard of
    ended          integer NOT NULL DEFAULT -1,    -- the newest install whose end was heard of: news come in any order
    activated_at   timestamptz,
    deactivated_at timestamptz,
    last_event_at  timestamptz
);

-- Public: every visitor of the shop can read them. They say which shop an event is of, and nothing else.
CREATE TABLE extension_keys (
    key        text PRIMARY KEY,
    shop       text NOT NULL REFERENCES extensions ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    ends_at    timestamptz                         -- set when another has taken its place; browsers use it until then
);
CREATE INDEX extension_keys_shop ON extension_keys (shop);

CREATE TABLE extension_versions (
    shop       text NOT NULL REFERENCES extensions ON DELETE CASCADE,
    version    text NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen  timestamptz NOT NULL,
    events     bigint NOT NULL,
    PRIMARY KEY (shop, version)
);

-- Events that could not be kept, the last of them: to find out what a pixel, or somebody else, sends.
CREATE TABLE quarantine (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL,
    shop     text NOT NULL,
    cause    text NOT NULL,
    version  text,
    detail   text NOT NULL,
    sample   text NOT NULL                         -- the beginning of it
);

-- What is left of each limit, over all processes. A crash of Postgres empties it, and everybody begins with a full one.
CREATE UNLOGGED TABLE limits (
    name    text PRIMARY KEY,                      -- key:<public key> or from:<address>
    granted double precision NOT NULL,              -- what the last one who asked got
    tokens  double precision NOT NULL,
    at      timestamptz NOT NULL,
    rate    double precision NOT NULL,
    burst   double precision NOT NULL
);

-- Frames are deflated already: Postgres would only try in vain.
ALTER TABLE messages ALTER COLUMN body SET STORAGE EXTERNAL;
