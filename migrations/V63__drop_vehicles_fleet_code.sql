DROP INDEX IF EXISTS vehicles_fleet_code_idx;
