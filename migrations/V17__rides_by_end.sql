-- Rides and revenue of a region by day; a running ride has no end.
CREATE INDEX IF NOT EXISTS rides_ended_idx ON rides (region, ended_at) INCLUDE (city, started_at, currency, total_minor);
