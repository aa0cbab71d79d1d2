-- The most that unlocking and minutes of one ride cost; NULL for no limit.
ALTER TABLE tariffs ADD COLUMN IF NOT EXISTS max_charge_minor INT8 CHECK (max_charge_minor >= 0);
