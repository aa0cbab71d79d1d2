-- A worker does a job under a lease, and writes down how far it is.
ALTER TABLE jobs
    ADD COLUMN IF NOT EXISTS lease_owner UUID,
    ADD COLUMN IF NOT EXISTS lease_until TIMESTAMPTZ,
    ADD COLUMN IF NOT EXISTS progress JSONB;
