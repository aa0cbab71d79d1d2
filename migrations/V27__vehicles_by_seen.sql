-- A city's vehicles, longest idle first, one status at a time, with what the public feed
-- says of them.
CREATE INDEX IF NOT EXISTS vehicles_seen_idx ON vehicles (region, city, status, seen_at, id)
    INCLUDE (public_id, type, battery, lat, lon, reserved_until, created_at);
