-- Events of rides and reservations name neither rider nor place; older ones did. An erasure could
-- not take that away: events are never changed by the application.
UPDATE events SET lat = NULL, lon = NULL,
    actor_region = CASE WHEN action = 'ride.ended_by_operator' THEN actor_region END,
    actor_id = CASE WHEN action = 'ride.ended_by_operator' THEN actor_id END
WHERE aggregate_type = 'vehicle'
    AND action IN ('ride.started', 'ride.ended', 'ride.ended_by_operator', 'vehicle.reserved',
        'vehicle.reservation_cancelled')
    AND (lat IS NOT NULL OR (actor_id IS NOT NULL AND action <> 'ride.ended_by_operator'));
