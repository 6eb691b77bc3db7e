-- Which client secret a token was made with, by a name that does not tell it: the token dies when that one is revoked.
-- NULL where nobody knows: taken in from elsewhere, or granted before this column was there.
ALTER TABLE sessions ADD COLUMN secret_id text;
