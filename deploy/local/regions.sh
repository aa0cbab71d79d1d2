# shellcheck shell=bash
# Sourced by three-nodes.sh, serve.sh and drill.sh: the regions, which ports each has, and where everything
# is kept. Ports of our own, beside those of `cockroach demo` and `movr demo`. Plain bash 3.2, for macOS.

regions="us-east1 us-west1 europe-west1"
# Data, logs, pids and the key of this cluster; nothing else is ever touched.
# shellcheck disable=SC2034 # used by those who source this
home=${MOVR_LOCAL_HOME:-$PWD/target/local-cluster}

# need_region NAME: ends with words unless it is one of ours.
need_region() {
  case " $regions " in
    *" ${1:-(none)} "*) ;;
    *) fail "the region is ${1:-missing}; it is one of: $regions" ;;
  esac
}

# The place of a region in the list, from 0; its ports follow from it.
place() {
  local region count=0
  for region in $regions; do
    [ "$region" = "$1" ] && break
    count=$((count + 1))
  done
  echo "$count"
}

sql_port() { echo "$((26357 + $(place "$1")))"; }
sql_address() { echo "127.0.0.1:$(sql_port "$1")"; }
http_address() { echo "127.0.0.1:$((8181 + $(place "$1")))"; }
# Where `movr serve` of the region listens: the base_url of deploy/catalog.toml.
: "${MOVR_LOCAL_WEB_PORT:=8080}"
web_port() { echo "$((MOVR_LOCAL_WEB_PORT + $(place "$1")))"; }
# With another server behind these ports, its URL with PORT in place of the number.
database_url() {
  local url=${MOVR_LOCAL_DATABASE_URL:-postgresql://root@127.0.0.1:PORT/movr?sslmode=disable}
  echo "${url/PORT/$(sql_port "$1")}"
}
