-- Replaced by events_digit_idx.
DROP INDEX IF EXISTS events_occurred_idx;
