-- A ride is found by its rider's home and id together; earlier moves home left the home that it
-- had. Where two people have one id, nobody can say whose the ride is, and it stays.
UPDATE rides SET rider_region = u.home
FROM (SELECT id AS person, max(region::TEXT)::crdb_internal_region AS home FROM users GROUP BY id HAVING count(*) = 1) AS u
WHERE rides.rider_id = u.person AND rides.rider_region <> u.home;
