-- users_username_key does both: where tables are REGIONAL BY ROW it begins with the region by
-- itself, so that a name at home is looked up at home.
ALTER TABLE users DROP CONSTRAINT IF EXISTS users_home_username_key;
