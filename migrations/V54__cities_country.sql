-- The country of a city, as lists of cities are headed; '' where it was never said.
ALTER TABLE cities ADD COLUMN IF NOT EXISTS country TEXT NOT NULL DEFAULT '';
