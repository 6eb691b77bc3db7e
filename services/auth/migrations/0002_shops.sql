-- Every shop that ever installed the app. The times are what tells a late uninstall from one of the install that runs.
CREATE TABLE shops (
    shop           text PRIMARY KEY,
    generation     integer NOT NULL,               -- how often it was installed, as far as we know
    installed_at   timestamptz NOT NULL,           -- the first grant of this generation
    granted_at     timestamptz NOT NULL,           -- the latest grant: an uninstall before it was of an earlier install
    uninstalled_at timestamptz,                    -- NULL while it is installed
    scopes         text NOT NULL,                  -- as granted last, without what others imply
    scopes_at      timestamptz NOT NULL            -- when that was so; what is older has no effect
);

-- Other services know a token by its version. It never comes again, whatever becomes of the session.
CREATE SEQUENCE token_version;

CREATE TABLE sessions (
    id                 text PRIMARY KEY,           -- offline_<shop>, or <shop>_<user>
    shop               text NOT NULL REFERENCES shops ON DELETE CASCADE,
    user_id            bigint,                     -- NULL for the offline one
    generation         integer NOT NULL,
    version            bigint NOT NULL DEFAULT nextval('auth.token_version'),
    scopes             text NOT NULL,
    key_id             text NOT NULL,              -- of the key that sealed both tokens
    access_token       bytea NOT NULL,
    refresh_token      bytea,
    expires_at         timestamptz,                -- NULL only for a token without expiry that was taken in from elsewhere
    refresh_expires_at timestamptz,
    granted_at         timestamptz NOT NULL,       -- when Shopify was asked for it by a merchant's doing
    renewed_at         timestamptz NOT NULL,
    refused_at         timestamptz                 -- since when Shopify refuses the refresh token: the merchant is needed
);
CREATE INDEX sessions_shop ON sessions (shop);
CREATE INDEX sessions_key ON sessions (key_id, id);
CREATE INDEX sessions_expired ON sessions (expires_at) WHERE user_id IS NOT NULL;
CREATE INDEX sessions_idle ON sessions (refresh_expires_at) WHERE refused_at IS NULL;

-- Attempts to install that are under way. Only a hash: who can read this table cannot finish them.
CREATE TABLE states (
    mark       bytea PRIMARY KEY,
    shop       text NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX states_expired ON states (expires_at);
