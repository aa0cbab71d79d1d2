-- vehicles_reserved_idx does what it did.
DROP INDEX IF EXISTS vehicles_reserved_by_idx;
