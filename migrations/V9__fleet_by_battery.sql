-- A city's fleet in the order of charge, one status at a time.
CREATE INDEX IF NOT EXISTS vehicles_fleet_battery_idx ON vehicles (region, city, status, battery, id);
