-- A ride that is open now was last seen at its newest position; the way to there counts
-- as a straight line.
UPDATE rides SET positions = p.n, last_at = p.at, last_lat = l.lat, last_lon = l.lon,
    way_m = 12742017.6 * asin(sqrt(greatest(0.0::FLOAT8, least(1.0::FLOAT8,
      power(sin(radians((l.lat + 180.0) - (rides.start_lat + 180.0)) / 2.0), 2.0)
      + sin(radians(rides.start_lat + 90.0)) * sin(radians(l.lat + 90.0))
        * power(sin(radians((l.lon + 360.0) - (rides.start_lon + 360.0)) / 2.0), 2.0)))))
FROM (SELECT ride_positions.region, ride_id, max(at) AS at, count(*) AS n
        FROM rides AS r JOIN ride_positions ON ride_positions.region = r.region AND ride_positions.ride_id = r.id
        WHERE r.ended_at IS NULL GROUP BY ride_positions.region, ride_id) AS p
    JOIN ride_positions AS l ON l.region = p.region AND l.ride_id = p.ride_id AND l.at = p.at
WHERE rides.region = p.region AND rides.id = p.ride_id AND rides.ended_at IS NULL;
