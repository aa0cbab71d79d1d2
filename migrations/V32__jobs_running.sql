-- What a worker looks for: confirmed jobs, and those that are still being selected.
CREATE INDEX IF NOT EXISTS jobs_running_idx ON jobs (region, confirmed_at, created_at, id) WHERE state = 'running';
