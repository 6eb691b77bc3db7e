ALTER TABLE backfills
    -- Where very much waits, another pack is read only once the newest message of the job has been worked on.
    ADD COLUMN last_message uuid,
    -- When it last came further: at Shopify, in its file, or from one status to the next.
    ADD COLUMN moved_at timestamptz NOT NULL DEFAULT now();
