#!/usr/bin/env bash
# A CockroachDB cluster of three real processes on this machine, one for each region, for failure
# drills (deploy/local/README.md). Not for production: no TLS, no passwords, one machine.
#   ./deploy/local/three-nodes.sh start            the three nodes; goes on with the data that is there
#   ./deploy/local/three-nodes.sh status           each node: its process, and whether it is ready
#   ./deploy/local/three-nodes.sh kill REGION      ends one node at once (kill -9), as if the region were lost
#   ./deploy/local/three-nodes.sh restart REGION   brings it back
#   ./deploy/local/three-nodes.sh stop             ends all three, by force after MOVR_LOCAL_PATIENCE_S (15); the data stays
# Data, logs and pids are kept in target/local-cluster, or in the folder that MOVR_LOCAL_HOME names.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/install.sh
# shellcheck source=deploy/local/regions.sh
. deploy/local/regions.sh

usage() { fail "usage: deploy/local/three-nodes.sh start | status | kill REGION | restart REGION | stop"; }

# Prints the pid of the region's node, if it runs. A pid that now belongs to another program is not it.
pid_of() {
  local pid
  pid=$(cat "$home/$1.pid" 2>/dev/null) || return 1
  case "$pid" in '' | *[!0-9]*) return 1 ;; esac
  case "$(command_of "$pid")" in *"--store=$home/$1 "*) echo "$pid" ;; *) return 1 ;; esac
}

command_of() {
  if [ -r "/proc/$1/cmdline" ]; then
    tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null || true
  else
    ps -ww -p "$1" -o args= 2>/dev/null || true
  fi
}

launch() {
  local region=$1 other join=
  pid_of "$region" >/dev/null && return
  for other in $regions; do
    join=$join${join:+,}$(sql_address "$other")
  done
  # Into the background by the shell, not by --background: so the pid is known from the first moment.
  nohup cockroach start --insecure --store="$home/$region" --locality="region=$region,zone=a" \
    --listen-addr="$(sql_address "$region")" --http-addr="$(http_address "$region")" --join="$join" \
    --cache=256MiB --max-sql-memory=256MiB >>"$home/$region.log" 2>&1 </dev/null &
  echo $! >"$home/$region.pid"
}

is_ready() { curl -fs -m 2 -o /dev/null "http://$(http_address "$1")/health?ready=1"; }

# Until the node takes clients; ends with the end of its log when it ended, or after two minutes.
wait_for() {
  local tries
  for tries in $(seq 240); do
    is_ready "$1" && return
    sleep 0.5 # also the moment that a new process needs to become cockroach
    pid_of "$1" >/dev/null || { tail -n 20 "$home/$1.log" >&2; fail "the node of $1 ended; its log is $home/$1.log"; }
  done
  fail "the node of $1 is not ready after two minutes ($tries looks); its log is $home/$1.log"
}

# Once in the life of the cluster; the nodes need a moment before they can be asked.
initialise() {
  local said tries
  [ -e "$home/initialised" ] && return
  for tries in $(seq 60); do
    if said=$(cockroach init --insecure --host="$(sql_address us-east1)" 2>&1); then
      break
    fi
    case "$said" in *"already been initialized"*) break ;; esac
    [ "$tries" = 60 ] && fail "the cluster cannot be initialised: $said"
    sleep 0.5
  done
  touch "$home/initialised"
}

# end SIGNAL REGION: sends it, if the node runs.
end() {
  local pid
  pid=$(pid_of "$2") || return 0
  kill "-$1" "$pid" 2>/dev/null || true
}

# gone SECONDS REGION...: waits so long for the end of all of them.
gone() {
  local until=$((SECONDS + $1)) region
  shift
  for region; do
    while pid_of "$region" >/dev/null; do
      [ "$SECONDS" -lt "$until" ] || return 1
      sleep 0.1
    done
    rm -f "$home/$region.pid"
  done
}

# finish SECONDS REGION...: ends them, and by force what still runs after that time: a node that
# is left without a quorum may drain for ever.
finish() {
  local patience=$1 region pid
  shift
  for region; do end TERM "$region"; done
  gone "$patience" "$@" && return
  for region; do
    pid=$(pid_of "$region") || continue
    echo "$region: still runs ${patience} s after SIGTERM; SIGKILL to pid $pid"
    end KILL "$region"
  done
  gone 15 "$@" || fail "a node does not end, not even by SIGKILL: $(status | grep -v ': stopped$')"
}

start() {
  need_cockroach
  need_curl
  mkdir -p "$home"
  for region in $regions; do launch "$region"; done
  initialise
  for region in $regions; do wait_for "$region"; done
  status
}

status() {
  local pid
  for region in $regions; do
    if ! pid=$(pid_of "$region"); then
      echo "$region: stopped"
    elif is_ready "$region"; then
      echo "$region: ready, pid $pid, $(database_url "$region"), console http://$(http_address "$region")"
    else
      echo "$region: not ready, pid $pid, log $home/$region.log"
    fi
  done
}

stop() {
  # shellcheck disable=SC2086 # one word a region
  finish "${MOVR_LOCAL_PATIENCE_S:-15}" $regions
  status
}

case "${1:-}" in
  start | status | stop)
    [ $# -eq 1 ] || usage
    "$1"
    ;;
  kill)
    need_region "${2:-}"
    pid_of "$2" >/dev/null || fail "the node of $2 does not run"
    end KILL "$2"
    gone 15 "$2" || fail "the node of $2 does not end"
    status
    ;;
  restart)
    need_region "${2:-}"
    [ -e "$home/initialised" ] || fail "there is no cluster yet: run start first"
    need_cockroach
    need_curl
    finish 60 "$2"
    launch "$2"
    wait_for "$2"
    status
    ;;
  *) usage ;;
esac
