-- What riders report about a vehicle, and what its operators do about it. Who reported and who is at
-- it are named by ids only; an erasure takes them and the words away.
CREATE TABLE tasks (
    region crdb_internal_region NOT NULL,
    id UUID NOT NULL,
    city TEXT NOT NULL,
    vehicle_id UUID NOT NULL,
    problem TEXT NOT NULL,
    note TEXT,
    reporter_id UUID,
    assignee_id UUID,
    state TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    done_at TIMESTAMPTZ,
    version INT8 NOT NULL,
    PRIMARY KEY (region, id),
    CONSTRAINT tasks_city_key UNIQUE (region, city, state, created_at, id),
    CONSTRAINT tasks_vehicle_key UNIQUE (region, vehicle_id, state, id),
    CONSTRAINT tasks_reporter_key UNIQUE (region, reporter_id, created_at, id),
    CONSTRAINT tasks_assignee_key UNIQUE (region, assignee_id, id),
    CONSTRAINT tasks_state_check CHECK (state IN ('open', 'done')),
    CONSTRAINT tasks_done_check CHECK ((state = 'done') = (done_at IS NOT NULL)),
    CONSTRAINT tasks_version_check CHECK (version > 0)
)
LOCALITY REGIONAL BY ROW AS region;
