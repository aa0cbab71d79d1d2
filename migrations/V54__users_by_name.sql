-- Finding a person by name.
CREATE INDEX IF NOT EXISTS users_name_idx ON users (region, (lower(last_name)), (lower(first_name)));
