-- The rides that used a promo code, for its list as a file.
CREATE INDEX IF NOT EXISTS rides_promo_code_idx ON rides (region, promo_code, id) WHERE promo_code IS NOT NULL;
