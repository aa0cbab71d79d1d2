-- A note said so before.
UPDATE vehicles SET hold = 'approval', note = NULL WHERE status = 'maintenance' AND note = 'Waits for approval';
