-- What an instance of the release before has added and an operator has to approve.
CREATE INDEX IF NOT EXISTS vehicles_waiting_note_idx ON vehicles (region, city, id) WHERE note = 'Waits for approval';
