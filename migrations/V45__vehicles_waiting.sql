-- A note said so before, and stays: the release before knows nothing else.
UPDATE vehicles SET hold = 'approval' WHERE status = 'maintenance' AND note = 'Waits for approval';
