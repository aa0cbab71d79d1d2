-- What is left of a person's reservations, for their erasure: they lapse by time alone.
CREATE INDEX IF NOT EXISTS vehicles_reserved_by_idx ON vehicles (region, reserved_by)
    WHERE reserved_by IS NOT NULL;
