-- What counts the reservations of a region reads nothing but this index; with a look-up of each row
-- CockroachDB may rather read the reservations of every region.
CREATE INDEX IF NOT EXISTS vehicles_reserved_idx ON vehicles (region, reserved_by) INCLUDE (reserved_until)
    WHERE reserved_by IS NOT NULL;
