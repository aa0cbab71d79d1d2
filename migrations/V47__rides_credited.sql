-- What an operator took off a receipt, and why; why one ended a ride. Reasons are codes of the program.
ALTER TABLE rides ADD COLUMN IF NOT EXISTS credited_minor INT8 NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS credit_reason TEXT,
    ADD COLUMN IF NOT EXISTS forced_reason TEXT;
