-- Replaced by rides_digit_idx.
DROP INDEX IF EXISTS rides_ended_idx;
