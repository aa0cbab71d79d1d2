-- Nobody gets back more than the ride cost, nor anything without a reason.
ALTER TABLE rides ADD CONSTRAINT rides_credited_check CHECK (
    credited_minor = 0
    OR (credit_reason IS NOT NULL AND credited_minor > 0 AND credited_minor <= coalesce(total_minor, 0))
);
