-- Long work of operators: bulk changes and transfers between cities and regions.
-- Rows live in the source region; each page load or command turn does the next part.

CREATE TABLE jobs (
    region crdb_internal_region NOT NULL,
    id UUID NOT NULL,
    kind TEXT NOT NULL,
    city TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'done', 'cancelled')),
    requested_region crdb_internal_region NOT NULL,
    requested_by UUID NOT NULL,
    parameters JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ,
    PRIMARY KEY (region, id),
    CONSTRAINT jobs_finished_check CHECK ((state = 'running') = (finished_at IS NULL))
)
LOCALITY REGIONAL BY ROW AS region;

CREATE TABLE transfers (
    region crdb_internal_region NOT NULL,
    id UUID NOT NULL,
    job_id UUID NOT NULL,
    vehicle_id UUID NOT NULL,
    to_region crdb_internal_region NOT NULL,
    to_city TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('requested', 'moved', 'refused', 'cancelled')),
    reason TEXT,
    vehicle_version INT8 NOT NULL,
    PRIMARY KEY (region, id),
    CONSTRAINT transfers_vehicle_key UNIQUE (region, job_id, vehicle_id),
    CONSTRAINT transfers_job_fkey FOREIGN KEY (region, job_id) REFERENCES jobs (region, id)
)
LOCALITY REGIONAL BY ROW AS region;
