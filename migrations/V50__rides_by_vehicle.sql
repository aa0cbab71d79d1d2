-- The rides of a vehicle, for its operators and its owner.
CREATE INDEX IF NOT EXISTS rides_vehicle_idx ON rides (region, vehicle_id, started_at, id);
