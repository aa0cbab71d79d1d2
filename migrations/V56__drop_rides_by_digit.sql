-- Replaced by rides_figures_idx.
DROP INDEX IF EXISTS rides_digit_idx;
