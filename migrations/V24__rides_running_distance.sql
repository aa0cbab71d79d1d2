-- How far an open ride has come: the number of its positions, the way through them in
-- metres, and the newest. The statement that adds positions keeps them.
ALTER TABLE rides ADD COLUMN IF NOT EXISTS positions INT8 NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS way_m FLOAT8 NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS last_at TIMESTAMPTZ,
    ADD COLUMN IF NOT EXISTS last_lat FLOAT8,
    ADD COLUMN IF NOT EXISTS last_lon FLOAT8;
