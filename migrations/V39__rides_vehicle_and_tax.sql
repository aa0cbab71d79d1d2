-- A receipt says what was ridden and which tax the price held, whatever becomes of the vehicle and
-- of the city. Of a tax: its name, and hundredths of a percent.
ALTER TABLE rides ADD COLUMN IF NOT EXISTS vehicle_code TEXT,
    ADD COLUMN IF NOT EXISTS vehicle_brand TEXT,
    ADD COLUMN IF NOT EXISTS tax_name TEXT,
    ADD COLUMN IF NOT EXISTS tax_rate INT8;
