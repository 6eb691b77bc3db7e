-- Each shop with the app: when its webhook subscriptions are looked at next, and who is at it.
CREATE TABLE subscription_shops (
    shop          text PRIMARY KEY,
    generation    bigint NOT NULL DEFAULT 0,       -- of the install, as auth counts them
    known_at      timestamptz NOT NULL DEFAULT now(),
    due_at        timestamptz NOT NULL DEFAULT now(),
    holder        uuid,                            -- the check under way
    leased_until  timestamptz,
    checked_at    timestamptz,                     -- the last check that came to its end
    error         text,                            -- why the one after it did not
    ended_at      timestamptz                      -- the app is not installed any more
);
CREATE INDEX subscription_shops_due ON subscription_shops (due_at) WHERE ended_at IS NULL;

-- What the last check left behind. A topic that is missing has no id.
CREATE TABLE subscription_states (
    shop             text NOT NULL,
    topic            text NOT NULL,
    subscription_id  text NOT NULL DEFAULT '',
    state            text NOT NULL,                -- ok, missing, differs, stranger, cannot
    uri              text,
    problem          text,
    tried            text,                         -- what was refused: the same is not asked for again
    checked_at       timestamptz NOT NULL,
    PRIMARY KEY (shop, topic, subscription_id)
);
CREATE INDEX subscription_states_drift ON subscription_states (topic, state) WHERE state <> 'ok';

CREATE TABLE subscription_history (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shop    text NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    topic   text NOT NULL,
    action  text NOT NULL,                         -- created, updated, deleted, refused
    detail  text NOT NULL
);
CREATE INDEX subscription_history_shop ON subscription_history (shop, id);
