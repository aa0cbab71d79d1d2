-- The jobs of a city, newest first.
CREATE INDEX IF NOT EXISTS jobs_city_idx ON jobs (region, city, created_at, id);
