-- A region drains before it closes: nothing new begins, what is under way can end. Both can be planned; `closed_at` says
-- since when a region is read-only.
ALTER TABLE region_gates ADD COLUMN IF NOT EXISTS draining BOOL NOT NULL DEFAULT FALSE,
    ADD COLUMN IF NOT EXISTS drain_at TIMESTAMPTZ,
    ADD COLUMN IF NOT EXISTS close_at TIMESTAMPTZ,
    ADD COLUMN IF NOT EXISTS closed_at TIMESTAMPTZ;
