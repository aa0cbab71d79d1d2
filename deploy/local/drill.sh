#!/usr/bin/env bash
# The failure drill: three instances behind the global balancer (deploy/haproxy), people who ride all the time. One
# instance is killed, then one region's database host is cut off and comes back. Prints how long it took until everybody
# was served again, what failed, and whether anything that was answered is lost or there twice; ends with 1 if a limit
# of riders.py is exceeded.
#   ./deploy/local/drill.sh                            on a private PostgreSQL. Each region reaches it by a way of its
#                                                      own, which is cut by letting nothing through.
#   ./deploy/local/drill.sh --cockroach [--locality off]   on the three nodes of three-nodes.sh, one of which is killed
# Takes two minutes. Needs a program that was built before: see serve.sh. Logs are left in target/drill, or in MOVR_LOCAL_HOME.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/install.sh
export MOVR_LOCAL_HOME=${MOVR_LOCAL_HOME:-$PWD/target/drill}
# shellcheck source=deploy/local/regions.sh
. deploy/local/regions.sh

cockroach=
migrate=(migrate)
while [ $# -gt 0 ]; do
  case "$1" in
    --cockroach) cockroach=yes ;;
    --locality) migrate+=(--locality "${2:-}"); shift ;;
    *) fail "usage: deploy/local/drill.sh [--cockroach [--locality off]]" ;;
  esac
  shift
done
killed=us-west1
cut=europe-west1

have python3 || need python3 python3 python3
need_haproxy
need_curl
if [ -z "$cockroach" ] && [ -z "${TEST_DATABASE_URL:-}" ]; then
  exec ./deploy/second-postgres.sh "$0"
fi

pids=
clean_up() {
  trap - EXIT INT TERM
  # What is stopped ends as well; bash would say of each that it was killed.
  # shellcheck disable=SC2086
  { kill -KILL $pids; wait $pids; } 2>/dev/null || true
  [ -z "$cockroach" ] || ./deploy/local/three-nodes.sh stop >/dev/null || true
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

rm -rf "$home"
mkdir -p "$home"

# start NAME COMMAND...: in the background; its pid is in $started.
start() {
  "${@:2}" >>"$home/$1.log" 2>&1 </dev/null &
  started=$!
  pids="$pids $started"
}

# A way to PostgreSQL for each region, which can be cut without the server.
forward() {
  cat >"$home/$1.cfg" <<CONF
defaults
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen $1
    bind $(sql_address "$1")
    server postgres $server
CONF
  start "way-$1" haproxy -f "$home/$1.cfg"
  local tries
  for tries in $(seq 100); do
    (exec 3<>"/dev/tcp/127.0.0.1/$(sql_port "$1")") 2>/dev/null && return
    sleep 0.1
  done
  fail "nothing listens for $1 after $tries tries; the log is $home/way-$1.log"
}

warm_up=5
if [ -n "$cockroach" ]; then
  say "Three CockroachDB nodes"
  warm_up=40
  ./deploy/local/three-nodes.sh start
  sql() { cockroach sql --insecure --host "$(sql_address us-east1)" --database movr --format tsv -e "$1" | tail -n +2; }
else
  say "PostgreSQL, by one way from each region"
  server=${TEST_DATABASE_URL#*@}
  server=${server%%/*}
  for region in $regions; do
    forward "$region"
    [ "$region" = "$cut" ] && way=$started
  done
  # The same URL, with the port of the region's way.
  export MOVR_LOCAL_DATABASE_URL=${TEST_DATABASE_URL/"$server/postgres"/"localhost:PORT/movr"}
  psql=$(command -v psql || echo "$(postgres_bin)/psql")
  sql() { "$psql" -X -A -t -d "$(database_url us-east1)" -c "$1"; }
fi

say "Schema, and vehicles"
./deploy/local/serve.sh us-east1 "${migrate[@]}" >"$home/migrate.log" 2>&1 || { cat "$home/migrate.log" >&2; exit 1; }
./deploy/local/serve.sh us-east1 load --users 0 --vehicles 300 --rides 0

balancer=127.0.0.1:$((MOVR_LOCAL_WEB_PORT + 10))
export MOVR_PUBLIC_URL=http://$balancer MOVR_TRUSTED_PROXIES=127.0.0.1 MOVR_CLIENT_CITY_HEADER=X-Client-City
export MOVR_DRAIN_DELAY_MS=5000
serve() {
  start "instance-$1" ./deploy/local/serve.sh "$1"
  [ "$1" = "$killed" ] && instance=$started
  return 0
}
# until_ready URL
until_ready() {
  local tries
  for tries in $(seq 300); do
    curl -fs -m 2 -o /dev/null "$1" && return
    sleep 0.2
  done
  fail "$1 does not answer with 200 after $tries tries; logs are in $home"
}

say "Three instances behind the balancer at http://$balancer"
for region in $regions; do serve "$region"; done
for region in $regions; do until_ready "http://127.0.0.1:$(web_port "$region")/readyz"; done
address() { echo "127.0.0.1:$(web_port "$1")"; }
start balancer env MOVR_US_EAST1="$(address us-east1)" MOVR_US_WEST1="$(address us-west1)" \
  MOVR_EUROPE_WEST1="$(address europe-west1)" MOVR_BALANCER_HTTP="$balancer" MOVR_EDGE_NETWORKS=127.0.0.1 \
  MOVR_BALANCER_METRICS="127.0.0.1:$((MOVR_LOCAL_WEB_PORT + 11))" haproxy -f deploy/haproxy/haproxy.cfg
until_ready "http://$balancer/readyz"
for pid in $pids; do
  kill -0 "$pid" 2>/dev/null || fail "something has ended already, or its port was taken; logs are in $home"
done
start riders deploy/local/riders.py ride "http://$balancer" "$home/result.json"
riders=$started

# event REGION NAME
event() {
  say "$2"
  echo "$(date +%s.%N) $1 $2" >>"$home/events"
}

say "The riders begin"
sleep "$warm_up"
event - "nothing"
sleep 10
event "$killed" "instance of $killed killed"
kill -KILL "$instance"
wait "$instance" 2>/dev/null || true
sleep 12
event - "instance of $killed back"
serve "$killed"
until_ready "http://$(address "$killed")/readyz"
sleep 8
event "$cut" "database host of $cut cut"
if [ -n "$cockroach" ]; then ./deploy/local/three-nodes.sh kill "$cut" >>"$home/nodes.log"; else kill -STOP "$way"; fi
sleep 20
event "$cut" "database host of $cut restored"
if [ -n "$cockroach" ]; then ./deploy/local/three-nodes.sh restart "$cut" >>"$home/nodes.log"; else kill -CONT "$way"; fi
sleep 15

say "The riders finish what they have begun"
kill -TERM "$riders"
wait "$riders" || fail "the riders fell; see $home/riders.log"
sql "SELECT 'ride', id FROM rides" | tr '|\t' '  ' >"$home/rows"
sql "SELECT 'user', username FROM users" | tr '|\t' '  ' >>"$home/rows"
./deploy/local/serve.sh us-east1 verify-data
status=0
deploy/local/riders.py report "$home/result.json" "$home/events" "$home/rows" || status=$?
exit "$status"
