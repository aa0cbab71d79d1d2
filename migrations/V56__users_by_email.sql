-- Finding a person by e-mail address.
CREATE INDEX IF NOT EXISTS users_email_idx ON users (region, (lower(email)));
