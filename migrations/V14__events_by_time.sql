-- The audit: what happened in a region, newest first.
CREATE INDEX IF NOT EXISTS events_occurred_idx ON events (region, occurred_at, aggregate_type, aggregate_id, version);
