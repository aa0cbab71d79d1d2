-- Vehicles live where the city is in which they stand. public_id is what pages and
-- feeds show; it changes at the end of each ride, so nobody can follow a vehicle.
-- The key with `cell` serves the nearest-vehicles list without a second look-up.

CREATE TABLE vehicles (
    region crdb_internal_region NOT NULL,
    id UUID NOT NULL,
    public_id UUID NOT NULL,
    city TEXT NOT NULL,
    type TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('available', 'in_use', 'maintenance', 'lost', 'retired')),
    code TEXT,
    brand TEXT NOT NULL,
    colour TEXT NOT NULL,
    note TEXT,
    battery INT8 NOT NULL CHECK (battery BETWEEN 0 AND 100),
    lat FLOAT8 NOT NULL CHECK (lat BETWEEN -90 AND 90),
    lon FLOAT8 NOT NULL CHECK (lon BETWEEN -180 AND 180),
    cell INT8 NOT NULL CHECK (cell >= 0),
    place TEXT NOT NULL,
    owner_region crdb_internal_region,
    owner_id UUID,
    reserved_region crdb_internal_region,
    reserved_by UUID,
    reserved_until TIMESTAMPTZ,
    open_ride_id UUID,
    version INT8 NOT NULL CHECK (version > 0),
    created_at TIMESTAMPTZ NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (region, id),
    CONSTRAINT vehicles_public_id_key UNIQUE (region, public_id),
    CONSTRAINT vehicles_code_key UNIQUE (region, city, code),
    CONSTRAINT vehicles_owner_key UNIQUE (region, owner_id, id),
    CONSTRAINT vehicles_nearest_key UNIQUE (region, city, status, cell, id)
        INCLUDE (public_id, type, brand, colour, battery, lat, lon, place, reserved_by, reserved_until),
    CONSTRAINT vehicles_city_fkey FOREIGN KEY (region, city) REFERENCES cities (region, slug),
    CONSTRAINT vehicles_owner_check CHECK ((owner_region IS NULL) = (owner_id IS NULL)),
    CONSTRAINT vehicles_open_ride_check CHECK ((status = 'in_use') = (open_ride_id IS NOT NULL)),
    CONSTRAINT vehicles_reservation_check CHECK (
        (reserved_region IS NULL) = (reserved_by IS NULL)
        AND (reserved_region IS NULL) = (reserved_until IS NULL)
    )
)
LOCALITY REGIONAL BY ROW AS region;
