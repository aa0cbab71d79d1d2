-- The newest events of one person are found without reading all of them.
CREATE INDEX IF NOT EXISTS events_actor_time_idx ON events (region, actor_id, occurred_at, aggregate_type, aggregate_id,
    version) WHERE actor_id IS NOT NULL;
