-- What a ride on the reserved vehicle is started with, from any page.
ALTER TABLE users ADD COLUMN IF NOT EXISTS reserved_city TEXT,
    ADD COLUMN IF NOT EXISTS reserved_type TEXT;
