-- The audit: what happened in a region, newest first. A digit of the id stands before the
-- time, so that all that is written at one moment does not go to one place.
CREATE INDEX IF NOT EXISTS events_digit_idx
    ON events (region, (left(aggregate_id::TEXT, 1)), occurred_at, aggregate_type, aggregate_id, version);
