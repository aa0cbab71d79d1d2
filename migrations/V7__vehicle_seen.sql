-- When a vehicle last came to where it stands: put on the street, left after a ride,
-- found again. Idle is what has stood there for long.
ALTER TABLE vehicles ADD COLUMN IF NOT EXISTS seen_at TIMESTAMPTZ NOT NULL DEFAULT now();
