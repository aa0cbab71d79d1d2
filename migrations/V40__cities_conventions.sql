-- How a city writes lengths and dates, who sells its rides, and the tax that its prices include.
ALTER TABLE cities ADD COLUMN IF NOT EXISTS units TEXT NOT NULL DEFAULT 'metric',
    ADD COLUMN IF NOT EXISTS seller TEXT NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS tax_name TEXT,
    ADD COLUMN IF NOT EXISTS tax_rate INT8;
