#!/usr/bin/env bash
# Tries deploy/Dockerfile: builds the image around a program that was built outside, and runs it as production does (as the
# image's user, nothing writable, no capabilities) on the PostgreSQL that TEST_DATABASE_URL names, from migration to drain.
#   ./deploy/second-postgres.sh ./deploy/container-test.sh [PROGRAM]     target/debug/movr if none is named
# Uses the Docker daemon that is there. Where none is, root on Debian gets one of its own for the time of the test, with
# Docker's programs in target/docker and a base image by debootstrap; anybody else reads SKIPPED and the reason.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/install.sh
[ -n "${TEST_DATABASE_URL:-}" ] || fail "run it by deploy/second-postgres.sh"
program=${1:-${CARGO_TARGET_DIR:-target}/debug/movr}
[ -x "$program" ] || fail "there is no $program: run cargo build first"
have curl || need_curl

home=$(mktemp -d "${TMPDIR:-/tmp}/movr-container.XXXXXX")
name=movr-test-$$
image=movr-test:$$
cache=$PWD/target/docker
clean_up() {
  trap - EXIT INT TERM
  docker rm -f "$name" >/dev/null 2>&1 || true
  docker rmi -f "$image" >/dev/null 2>&1 || true
  local pid
  if pid=$(cat "$home/docker.pid" 2>/dev/null); then
    kill -TERM "$pid" 2>/dev/null || true
    for _ in $(seq 100); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    umount "$home"/exec/netns/* "$home" 2>/dev/null || true
  fi
  rm -rf "$home"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

skip() {
  if [ -n "${CI:-}" ] && [ "$(uname -s)" = Linux ]; then fail "the container test cannot run: $1"; fi
  echo "SKIPPED the container test: $1"
  exit 0
}

# Unpacked rather than installed, so that no service is left behind.
fetch_docker() {
  [ -x "$cache/usr/sbin/dockerd" ] && return
  say "Fetching Docker's programs into target/docker"
  rm -rf "$cache" && mkdir -p "$cache/packages"
  apt-get update -q >/dev/null
  (cd "$cache/packages" && apt-get download -q -o APT::Sandbox::User=root docker.io containerd runc debootstrap >/dev/null)
  local package
  for package in "$cache"/packages/*.deb; do dpkg -x "$package" "$cache"; done
  rm -rf "$cache/packages"
}

# start_daemon BASE: with the image of that name in it, made of the packages that the real one is made of.
start_daemon() {
  local base=$1 suite=${1#debian:}
  suite=${suite%%-*}
  # In memory, where that may be: packages wait for the disk after each file.
  mount -t tmpfs -o mode=711 movr "$home" 2>/dev/null || true
  fetch_docker
  PATH=$cache/usr/sbin:$cache/usr/bin:$PATH
  export DOCKER_HOST=unix://$home/docker.sock
  if [ ! -f "$cache/$suite.tar" ]; then
    say "Making $base (debootstrap)"
    DEBOOTSTRAP_DIR=$cache/usr/share/debootstrap debootstrap --variant=minbase "$suite" "$home/base" \
      "${MOVR_DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$home/debootstrap.log" 2>&1 || { tail -n 20 "$home/debootstrap.log" >&2; return 1; }
    tar -C "$home/base" -cf "$cache/$suite.tar.part" .
    mv "$cache/$suite.tar.part" "$cache/$suite.tar"
  fi
  dockerd --host "$DOCKER_HOST" --data-root "$home/data" --exec-root "$home/exec" --pidfile "$home/docker.pid" \
    --iptables=false --ip6tables=false --bridge=none >"$home/dockerd.log" 2>&1 &
  for _ in $(seq 150); do
    docker version >/dev/null 2>&1 && break
    sleep 0.1
  done
  docker import "$cache/$suite.tar" "$base" >/dev/null || { tail -n 20 "$home/dockerd.log" >&2; return 1; }
}

base=$(sed -n 's/^FROM \(debian:.*\) AS files$/\1/p' deploy/Dockerfile)
[ -n "$base" ] || fail "deploy/Dockerfile names no base image"
[ "$(uname -s)" = Linux ] || skip "--network host needs Linux"
if ! { have docker && docker info >/dev/null 2>&1; }; then
  { [ "$(id -u)" -eq 0 ] && have apt-get && have dpkg; } || skip "there is no Docker daemon, and this user cannot start one"
  start_daemon "$base" || fail "Docker does not start"
fi

say "The image, around $program"
mkdir "$home/context"
strip -o "$home/context/movr" "$program"
cp -L /etc/ssl/certs/ca-certificates.crt "$home/context/"
DOCKER_BUILDKIT=1 docker build -q -f deploy/Dockerfile --network none --build-arg BINARY=prebuilt -t "$image" \
  "$home/context" >/dev/null
size=$(docker save "$image" | gzip -c | wc -c)
echo "$((size / 1000000)) MB compressed"
[ "$size" -lt 40000000 ] || fail "the image is larger than 40 MB"

# free_port FIRST: the first port from there on that nobody listens to.
free_port() {
  local port
  for port in $(seq "$1" $(($1 + 99))); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
  fail "no free port from $1"
}
web=$(free_port 18080)
metrics=$(free_port 19080)
# As the server's authority is known to this machine, it is to the container.
authority=${TEST_DATABASE_URL##*sslrootcert=}
url() { echo "postgresql://$1@${TEST_DATABASE_URL#*@}" | sed -e 's,/postgres?,/movr_container?,' -e 's,sslrootcert=.*,sslrootcert=/authority.crt,'; }
secret=$(openssl rand -hex 16)
run() {
  docker run --network host --read-only --cap-drop ALL --security-opt no-new-privileges \
    -v "$authority:/authority.crt:ro" -e MOVR_REGION=us-east1 -e "MOVR_SECRET_KEYS=$(openssl rand -base64 64 | tr -d '\n')" \
    -e "MOVR_PUBLIC_URL=http://localhost:$web" -e "MOVR_LISTEN=127.0.0.1:$web" \
    -e "MOVR_METRICS_LISTEN=127.0.0.1:$metrics" -e MOVR_DRAIN_DELAY_MS=3000 "$@"
}

say "Migration by its owner, then an instance by the application's role"
owner=${TEST_DATABASE_URL#postgresql://}
run --rm --no-healthcheck -e RUST_LOG=warn -e "DATABASE_URL=$(url "${owner%%@*}")" "$image" migrate --roles
"$(command -v psql || echo "$(postgres_bin)/psql")" -q "$TEST_DATABASE_URL" -c "ALTER ROLE movr_app PASSWORD '$secret'"
run -d --name "$name" -e "DATABASE_URL=$(url "movr_app:$secret")" "$image" >/dev/null

state() { docker inspect --format '{{.State.Health.Status}}' "$name"; }
failed() {
  docker inspect --format '{{json .State}}' "$name" >&2 || true
  docker logs --tail 20 "$name" >&2 || true
  fail "$1"
}
for _ in $(seq 120); do
  [ "$(state)" = healthy ] && break
  sleep 0.25
done
[ "$(state)" = healthy ] || failed "the container is $(state)"
echo "healthy"
curl -fsS -o /dev/null "http://127.0.0.1:$web/" || failed "the first page does not come"
# Read to the end: curl fails when grep leaves before, as with -q.
curl -fsS "http://127.0.0.1:$metrics/metrics" | grep '^movr_build_info' >/dev/null || failed "there are no metrics"
# The only addition is the file that is mounted.
[ "$(docker diff "$name")" = "A /authority.crt" ] || failed "files were written: $(docker diff "$name")"
[ "$(docker top "$name" -o pid,uid,comm | tail -n +2 | tr -s ' ' | sed 's/^ *[0-9]* //')" = "65532 movr" ] || failed "not one process as 65532"
if docker run --rm --no-healthcheck --network none --entrypoint /bin/sh "$image" -c true 2>/dev/null; then failed "there is a shell"; fi

# It ends as an orchestrator ends it: the image's own health check fails at once, while it still serves.
mapfile -t check < <(docker inspect --format '{{range slice .Config.Healthcheck.Test 1}}{{println .}}{{end}}' "$name" | sed '/^$/d')
docker exec "$name" "${check[@]}" || failed "${check[*]} does not pass"
docker kill --signal TERM "$name" >/dev/null
sleep 0.5
if docker exec "$name" "${check[@]}" 2>/dev/null; then failed "healthy while it drains"; fi
curl -fsS -o /dev/null "http://127.0.0.1:$web/" || failed "it does not serve while it drains"
code=$(timeout 30 docker wait "$name") || failed "it does not end"
[ "$code" = 0 ] || failed "it ended with $code"
echo "drained and ended with 0"
