-- One append-only table: audit trail and vehicle history at once. Its key makes a
-- second event for the same version of the same thing impossible. metadata carries
-- no personal data; people are named by id only.

CREATE TABLE events (
    region crdb_internal_region NOT NULL,
    aggregate_type TEXT NOT NULL,
    aggregate_id UUID NOT NULL,
    version INT8 NOT NULL CHECK (version > 0),
    action TEXT NOT NULL,
    actor_region TEXT,
    actor_id UUID,
    command_id UUID NOT NULL,
    correlation_id UUID NOT NULL,
    causation_id UUID,
    occurred_at TIMESTAMPTZ NOT NULL,
    recorded_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    epoch INT8 NOT NULL,
    lat FLOAT8,
    lon FLOAT8,
    metadata JSONB NOT NULL,
    PRIMARY KEY (region, aggregate_type, aggregate_id, version)
)
LOCALITY REGIONAL BY ROW AS region;

-- What a person did, for the export of their data and the audit.
CREATE INDEX events_actor_idx ON events (region, actor_id, aggregate_type, aggregate_id, version);
