-- The times in which a region was read-only: no ride could end, so they are not charged. The one under way stands in
-- `region_gates`. `epoch` is that of the opening.
CREATE TABLE region_closures (
    region crdb_internal_region NOT NULL,
    epoch INT8 NOT NULL,
    closed_at TIMESTAMPTZ NOT NULL,
    opened_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (region, epoch),
    CONSTRAINT region_closures_order_check CHECK (closed_at <= opened_at)
)
LOCALITY REGIONAL BY ROW AS region;
