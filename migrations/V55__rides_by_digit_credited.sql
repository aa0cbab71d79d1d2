-- As rides_digit_idx, and what was credited, which is no revenue.
CREATE INDEX IF NOT EXISTS rides_figures_idx
    ON rides (region, (left(id::TEXT, 1)), ended_at) INCLUDE (city, started_at, currency, total_minor, credited_minor);
