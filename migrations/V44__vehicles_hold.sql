-- Why the vehicle of a person is in maintenance: approval (it waits for one), declined, paused.
ALTER TABLE vehicles ADD COLUMN IF NOT EXISTS hold TEXT;
