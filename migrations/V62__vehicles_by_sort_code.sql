CREATE INDEX IF NOT EXISTS vehicles_sort_code_idx ON vehicles (region, city, status, sort_code, id);
