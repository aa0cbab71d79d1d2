-- Rides stay for ever in the region where they happened. They refer to rider and
-- vehicle by plain ids and carry a copy of their tariff and promo code: riding reads
-- no GLOBAL row, and a ride does not care where its rider lives now.

CREATE TABLE rides (
    region crdb_internal_region NOT NULL,
    id UUID NOT NULL,
    city TEXT NOT NULL,
    vehicle_id UUID NOT NULL,
    vehicle_type TEXT NOT NULL,
    rider_region crdb_internal_region,
    rider_id UUID,
    started_at TIMESTAMPTZ NOT NULL,
    start_lat FLOAT8 NOT NULL,
    start_lon FLOAT8 NOT NULL,
    start_place TEXT NOT NULL,
    ended_at TIMESTAMPTZ,
    end_lat FLOAT8,
    end_lon FLOAT8,
    end_place TEXT,
    outside_area BOOL,
    distance_m INT8,
    currency TEXT NOT NULL,
    unlock_minor INT8 NOT NULL,
    per_minute_minor INT8 NOT NULL,
    out_of_area_minor INT8 NOT NULL,
    promo_code TEXT,
    promo_percent INT8,
    promo_amount_minor INT8,
    minutes INT8,
    charge_minor INT8,
    discount_minor INT8,
    fee_minor INT8,
    total_minor INT8,
    version INT8 NOT NULL CHECK (version > 0),
    PRIMARY KEY (region, id),
    CONSTRAINT rides_rider_check CHECK ((rider_region IS NULL) = (rider_id IS NULL)),
    CONSTRAINT rides_promo_check CHECK (
        (promo_code IS NOT NULL OR (promo_percent IS NULL AND promo_amount_minor IS NULL))
        AND (promo_percent IS NULL OR promo_amount_minor IS NULL)
    ),
    CONSTRAINT rides_ended_check CHECK (
        (ended_at IS NULL) = (end_lat IS NULL) AND (ended_at IS NULL) = (end_lon IS NULL)
        AND (ended_at IS NULL) = (end_place IS NULL) AND (ended_at IS NULL) = (outside_area IS NULL)
        AND (ended_at IS NULL) = (distance_m IS NULL) AND (ended_at IS NULL) = (minutes IS NULL)
        AND (ended_at IS NULL) = (charge_minor IS NULL) AND (ended_at IS NULL) = (discount_minor IS NULL)
        AND (ended_at IS NULL) = (fee_minor IS NULL) AND (ended_at IS NULL) = (total_minor IS NULL)
    ),
    CONSTRAINT rides_discount_check CHECK (discount_minor IS NULL OR discount_minor BETWEEN 0 AND charge_minor),
    CONSTRAINT rides_total_check CHECK (
        total_minor IS NULL OR total_minor = charge_minor - discount_minor + fee_minor
    )
)
LOCALITY REGIONAL BY ROW AS region;

CREATE UNIQUE INDEX rides_open_vehicle_key ON rides (region, vehicle_id) WHERE ended_at IS NULL;

CREATE UNIQUE INDEX rides_open_rider_key ON rides (region, rider_id) WHERE ended_at IS NULL;

CREATE INDEX rides_rider_idx ON rides (region, rider_id, started_at DESC, id);

CREATE TABLE ride_positions (
    region crdb_internal_region NOT NULL,
    ride_id UUID NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    lat FLOAT8 NOT NULL CHECK (lat BETWEEN -90 AND 90),
    lon FLOAT8 NOT NULL CHECK (lon BETWEEN -180 AND 180),
    PRIMARY KEY (region, ride_id, at)
)
LOCALITY REGIONAL BY ROW AS region;
