-- Seconds of a ride in which a region did not let it end.
ALTER TABLE rides ADD COLUMN IF NOT EXISTS uncharged_s INT8 NOT NULL DEFAULT 0;
