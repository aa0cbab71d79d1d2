-- What was changed in the browser: `movr migrate` leaves these entries as they are,
-- whatever the catalogue file says of them.
CREATE TABLE catalogue_edits (
    kind TEXT NOT NULL CHECK (kind IN ('city', 'tariff', 'promo_code')),
    key TEXT NOT NULL,
    version INT8 NOT NULL,
    PRIMARY KEY (kind, key)
)
LOCALITY GLOBAL;
