-- The code that a retired vehicle had: its history and its receipts name it, and another vehicle
-- may have it now.
ALTER TABLE vehicles ADD COLUMN IF NOT EXISTS retired_code TEXT;
