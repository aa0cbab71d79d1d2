-- What an operator has to approve.
CREATE INDEX IF NOT EXISTS vehicles_approval_idx ON vehicles (region, city, id) WHERE hold = 'approval';
