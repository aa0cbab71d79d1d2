-- Rides and revenue of a region by day, spread in the same way; a running ride has no end.
CREATE INDEX IF NOT EXISTS rides_digit_idx
    ON rides (region, (left(id::TEXT, 1)), ended_at) INCLUDE (city, started_at, currency, total_minor);
