-- The newest message of a backfill: where very much waits, another pack is read only once this one has been worked on.
ALTER TABLE backfills ADD COLUMN last_message uuid;
