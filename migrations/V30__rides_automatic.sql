-- A ride copies its tariff's limit; and the system ended it, because it had been open too long.
ALTER TABLE rides ADD COLUMN IF NOT EXISTS max_charge_minor INT8,
    ADD COLUMN IF NOT EXISTS automatic BOOL NOT NULL DEFAULT FALSE;
