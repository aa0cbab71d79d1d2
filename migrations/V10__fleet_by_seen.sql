-- A city's fleet, longest idle first, one status at a time.
CREATE INDEX IF NOT EXISTS vehicles_fleet_seen_idx ON vehicles (region, city, status, seen_at, id);
