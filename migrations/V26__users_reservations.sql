-- How often a person has reserved without riding, and since when that is counted.
ALTER TABLE users ADD COLUMN IF NOT EXISTS reservations INT8 NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS reservations_since TIMESTAMPTZ;
