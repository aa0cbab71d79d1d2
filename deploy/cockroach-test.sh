#!/usr/bin/env bash
# What only a real CockroachDB can show, in parts, so that each says for itself whether it passes.
#   ./deploy/cockroach-test.sh tests [VERSION [FILTER]]  the integration tests on a single node
#   ./deploy/cockroach-test.sh demo [VERSION]            the demo's nine nodes: every plan stays in its regions
#   ./deploy/cockroach-test.sh drill [VERSION]           three nodes behind the balancer, regions lost and brought back
# Takes the `cockroach` on the PATH; otherwise fetches VERSION (or the one of install.sh) into target/.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/install.sh
exec </dev/null

part=${1:-}
cockroach_version=${2:-$cockroach_version}
case "$part" in tests | demo | drill) ;; *) fail "usage: deploy/cockroach-test.sh tests|demo|drill [VERSION]" ;; esac
need_cockroach
need_compiler
need_rust
say "$part on $(cockroach version --build-tag)"

home=$(mktemp -d "${TMPDIR:-/tmp}/movr-cockroach.XXXXXX")
chmod 711 "$home"
started=
clean_up() {
  trap - EXIT INT TERM
  if [ -n "$started" ]; then
    kill -TERM "$started" 2>/dev/null || true
    for _ in $(seq 600); do
      kill -0 "$started" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL "$started" 2>/dev/null || true
  fi
  rm -rf "$home"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# until_in FILE TEXT SECONDS: waits for the line of the log; ends with the log when the process ends before.
until_in() {
  local end=$((SECONDS + $3))
  until grep -qs "$2" "$1"; do
    if ! kill -0 "$started" 2>/dev/null || [ "$SECONDS" -ge "$end" ]; then
      tail -n 40 "$1" >&2
      fail "no \"$2\" in $1"
    fi
    sleep 0.2
  done
}

tests() {
  cockroach start-single-node --insecure --store=type=mem,size=2GiB --listen-addr=127.0.0.1:26657 \
    --http-addr=127.0.0.1:8381 >"$home/node.log" 2>&1 &
  started=$!
  until_in "$home/node.log" "^status: " 60
  export MOVR_TEST_DATA=$home/tests
  export TEST_DATABASE_URL="postgresql://root@127.0.0.1:26657/defaultdb?sslmode=disable"
  cargo test --locked --no-fail-fast --test it -- "$@"
}

demo() {
  local url host port
  cargo build --locked --profile demo
  local movr=${CARGO_TARGET_DIR:-target}/demo/movr
  "$movr" demo --engine cockroach --data "$home/demo" >"$home/demo.log" 2>&1 &
  started=$!
  until_in "$home/demo.log" "^Press Ctrl-C" 600
  # postgresql://root@127.1.2.3:26257/...: three nodes a region, in the order of the regions.
  url=$(tail -n1 "$home/demo/listening-url")
  url=${url#*@}
  host=${url%%:*}
  port=${url#*:}
  port=${port%%[/?]*}
  node() { echo "postgresql://root@$host:$((port + $1))/movr_demo?sslmode=disable"; }
  # A plan that cannot be read is a failure, as is one that leaves its regions, and a gateway that was not asked.
  DATABASE_URL=$(node 0) MOVR_DATABASE_URL_US_WEST1=$(node 3) MOVR_DATABASE_URL_EUROPE_WEST1=$(node 6) \
    MOVR_STATEMENT_TIMEOUT_MS=10000 MOVR_WRITE_TIMEOUT_MS=10000 "$movr" verify-locality
}

drill() {
  cargo build --release --locked --bin movr
  ./deploy/local/drill.sh --cockroach
}

shift $(($# < 2 ? $# : 2))
"$part" "$@"
say "$part passed on $(cockroach version --build-tag)"
