-- What a job does one by one: a vehicle with the version that was seen, or a line of an
-- imported file. An item is done, or refused with its reason, together with its change.
CREATE TABLE job_items (
    region crdb_internal_region NOT NULL,
    job_id UUID NOT NULL,
    position INT8 NOT NULL CHECK (position > 0),
    vehicle_id UUID,
    vehicle_version INT8,
    input JSONB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'done', 'refused', 'cancelled')),
    reason TEXT,
    PRIMARY KEY (region, job_id, position),
    CONSTRAINT job_items_state_key UNIQUE (region, job_id, state, position),
    CONSTRAINT job_items_vehicle_key UNIQUE (region, job_id, vehicle_id),
    CONSTRAINT job_items_job_fkey FOREIGN KEY (region, job_id) REFERENCES jobs (region, id),
    CONSTRAINT job_items_reason_check CHECK ((state = 'refused') = (reason IS NOT NULL))
)
LOCALITY REGIONAL BY ROW AS region;
