-- The catalogue: what a deployment is made of. GLOBAL: read everywhere at local
-- latency, written rarely and by administrators only. No personal data.
-- LOCALITY stands alone on the last line of each CREATE TABLE; on an engine
-- without regions that line is sent as ";" (src/db/migrate.rs).

CREATE TABLE catalogue (
    id INT8 PRIMARY KEY CHECK (id = 1),
    version INT8 NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL
)
LOCALITY GLOBAL;

CREATE TABLE regions (
    code crdb_internal_region PRIMARY KEY,
    position INT8 NOT NULL,
    name TEXT NOT NULL,
    base_url TEXT NOT NULL,
    lat FLOAT8 NOT NULL CHECK (lat BETWEEN -90 AND 90),
    lon FLOAT8 NOT NULL CHECK (lon BETWEEN -180 AND 180),
    jurisdiction TEXT NOT NULL
)
LOCALITY GLOBAL;

CREATE TABLE residency_policies (
    region crdb_internal_region PRIMARY KEY,
    move_to JSONB NOT NULL,
    backup_to JSONB NOT NULL,
    operator_export BOOL NOT NULL,
    analytics BOOL NOT NULL,
    CONSTRAINT residency_policies_region_fkey FOREIGN KEY (region) REFERENCES regions (code)
)
LOCALITY GLOBAL;

CREATE TABLE cities (
    slug TEXT PRIMARY KEY,
    position INT8 NOT NULL,
    region crdb_internal_region NOT NULL,
    name TEXT NOT NULL,
    lat FLOAT8 NOT NULL CHECK (lat BETWEEN -90 AND 90),
    lon FLOAT8 NOT NULL CHECK (lon BETWEEN -180 AND 180),
    time_zone TEXT NOT NULL,
    currency TEXT NOT NULL,
    service_area JSONB NOT NULL,
    CONSTRAINT cities_region_slug_key UNIQUE (region, slug),
    CONSTRAINT cities_region_fkey FOREIGN KEY (region) REFERENCES regions (code)
)
LOCALITY GLOBAL;

CREATE TABLE vehicle_types (
    code TEXT PRIMARY KEY,
    position INT8 NOT NULL,
    name TEXT NOT NULL,
    form_factor TEXT NOT NULL,
    propulsion TEXT NOT NULL,
    max_range_m INT8 CHECK (max_range_m > 0)
)
LOCALITY GLOBAL;

CREATE TABLE tariffs (
    city TEXT NOT NULL,
    vehicle_type TEXT NOT NULL,
    valid_from TIMESTAMPTZ NOT NULL,
    unlock_minor INT8 NOT NULL CHECK (unlock_minor >= 0),
    per_minute_minor INT8 NOT NULL CHECK (per_minute_minor >= 0),
    out_of_area_minor INT8 NOT NULL CHECK (out_of_area_minor >= 0),
    PRIMARY KEY (city, vehicle_type, valid_from),
    CONSTRAINT tariffs_city_fkey FOREIGN KEY (city) REFERENCES cities (slug),
    CONSTRAINT tariffs_vehicle_type_fkey FOREIGN KEY (vehicle_type) REFERENCES vehicle_types (code)
)
LOCALITY GLOBAL;

CREATE TABLE promo_codes (
    code TEXT PRIMARY KEY,
    percent INT8 CHECK (percent BETWEEN 1 AND 100),
    amount_minor INT8 CHECK (amount_minor > 0),
    currency TEXT,
    cities JSONB NOT NULL,
    quotas JSONB NOT NULL,
    per_rider_limit INT8 NOT NULL CHECK (per_rider_limit > 0),
    total_limit INT8 NOT NULL CHECK (total_limit > 0),
    valid_from TIMESTAMPTZ NOT NULL,
    valid_until TIMESTAMPTZ NOT NULL,
    CONSTRAINT promo_codes_kind_check CHECK ((percent IS NULL) <> (amount_minor IS NULL)),
    CONSTRAINT promo_codes_currency_check CHECK ((amount_minor IS NULL) = (currency IS NULL))
)
LOCALITY GLOBAL;
