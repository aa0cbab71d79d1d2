-- An operator ended the ride for its rider; the receipt says so.
ALTER TABLE rides ADD COLUMN IF NOT EXISTS forced BOOL NOT NULL DEFAULT FALSE;
