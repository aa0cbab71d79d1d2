-- A city's rides for its operators: those under way, the ended ones by their end, and the revenue of a period.
CREATE INDEX IF NOT EXISTS rides_city_idx ON rides (region, city, ended_at, id)
    INCLUDE (started_at, vehicle_id, vehicle_type, currency, charge_minor, discount_minor, fee_minor, total_minor, credited_minor);
