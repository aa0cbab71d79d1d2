-- Events of rides and reservations name neither rider nor place; older ones did. An erasure could
-- not take that away: events are never changed by the application.
UPDATE events SET actor_region = NULL, actor_id = NULL, lat = NULL, lon = NULL
WHERE aggregate_type = 'vehicle'
    AND action IN ('ride.started', 'ride.ended', 'vehicle.reserved', 'vehicle.reservation_cancelled')
    AND (actor_id IS NOT NULL OR lat IS NOT NULL);
