-- Why a city is paused: nothing new begins there, and everybody reads it.
ALTER TABLE cities ADD COLUMN IF NOT EXISTS paused TEXT;
