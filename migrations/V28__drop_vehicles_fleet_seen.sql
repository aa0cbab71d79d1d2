-- vehicles_seen_idx serves the same order.
DROP INDEX IF EXISTS vehicles_fleet_seen_idx;
