-- Region gates, people and what moves with them. REGIONAL BY ROW: a row lives in
-- the region it names. The key of each table begins with that region, so that
-- uniqueness is checked inside it; username_key is the one deliberate exception.

CREATE TABLE region_gates (
    region crdb_internal_region PRIMARY KEY,
    write_state TEXT NOT NULL CHECK (write_state IN ('writable', 'read_only')),
    epoch INT8 NOT NULL CHECK (epoch > 0),
    reason TEXT,
    until_at TIMESTAMPTZ,
    changed_at TIMESTAMPTZ NOT NULL
)
LOCALITY REGIONAL BY ROW AS region;

CREATE TABLE users (
    region crdb_internal_region NOT NULL,
    id UUID NOT NULL,
    city TEXT NOT NULL,
    username TEXT NOT NULL,
    username_key TEXT NOT NULL,
    first_name TEXT NOT NULL,
    last_name TEXT NOT NULL,
    email TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    recovery_hashes JSONB NOT NULL,
    present_in JSONB NOT NULL,
    reserved_region crdb_internal_region,
    reserved_public_id UUID,
    reserved_until TIMESTAMPTZ,
    open_ride_region crdb_internal_region,
    open_ride_id UUID,
    version INT8 NOT NULL CHECK (version > 0),
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (region, id),
    CONSTRAINT users_username_key UNIQUE (username_key),
    CONSTRAINT users_home_username_key UNIQUE (region, username_key),
    CONSTRAINT users_city_key UNIQUE (region, city, id),
    CONSTRAINT users_city_fkey FOREIGN KEY (region, city) REFERENCES cities (region, slug),
    CONSTRAINT users_open_ride_check CHECK ((open_ride_region IS NULL) = (open_ride_id IS NULL)),
    CONSTRAINT users_reservation_check CHECK (
        (reserved_region IS NULL) = (reserved_public_id IS NULL)
        AND (reserved_region IS NULL) = (reserved_until IS NULL)
    )
)
LOCALITY REGIONAL BY ROW AS region;

CREATE TABLE sessions (
    region crdb_internal_region NOT NULL,
    id UUID NOT NULL,
    user_id UUID NOT NULL,
    token_hash TEXT NOT NULL,
    device TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (region, id),
    CONSTRAINT sessions_user_key UNIQUE (region, user_id, id),
    CONSTRAINT sessions_user_fkey FOREIGN KEY (region, user_id) REFERENCES users (region, id)
)
LOCALITY REGIONAL BY ROW AS region;

CREATE TABLE role_grants (
    region crdb_internal_region NOT NULL,
    user_id UUID NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('operator', 'administrator')),
    city TEXT NOT NULL,
    granted_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (region, user_id, role, city),
    CONSTRAINT role_grants_city_check CHECK ((role = 'administrator') = (city = '')),
    CONSTRAINT role_grants_user_fkey FOREIGN KEY (region, user_id) REFERENCES users (region, id)
)
LOCALITY REGIONAL BY ROW AS region;

CREATE TABLE promo_quotas (
    region crdb_internal_region NOT NULL,
    code TEXT NOT NULL,
    granted INT8 NOT NULL CHECK (granted >= 0),
    remaining INT8 NOT NULL CHECK (remaining >= 0),
    PRIMARY KEY (region, code),
    CONSTRAINT promo_quotas_left_check CHECK (remaining <= granted)
)
LOCALITY REGIONAL BY ROW AS region;

CREATE TABLE promo_redemptions (
    region crdb_internal_region NOT NULL,
    user_id UUID NOT NULL,
    code TEXT NOT NULL,
    ride_region crdb_internal_region NOT NULL,
    ride_id UUID NOT NULL,
    redeemed_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (region, user_id, code, ride_id),
    CONSTRAINT promo_redemptions_user_fkey FOREIGN KEY (region, user_id) REFERENCES users (region, id)
)
LOCALITY REGIONAL BY ROW AS region;
