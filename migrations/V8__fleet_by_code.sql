-- A city's fleet in the order of the operator's own codes, one status at a time;
-- vehicles without a code come first.
CREATE INDEX IF NOT EXISTS vehicles_fleet_code_idx ON vehicles (region, city, status, (coalesce(code, '')), id);
