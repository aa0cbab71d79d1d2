-- The order of a fleet by code. CockroachDB reads an index over an expression, but not in its order: it sorted
-- all vehicles of the region for every page.
ALTER TABLE vehicles ADD COLUMN IF NOT EXISTS sort_code TEXT GENERATED ALWAYS AS (coalesce(code, '')) STORED;
