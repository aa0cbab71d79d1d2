-- A job does nothing until the person who asked for it has seen what it will do.
ALTER TABLE jobs ADD COLUMN IF NOT EXISTS confirmed_at TIMESTAMPTZ;
