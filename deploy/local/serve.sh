#!/usr/bin/env bash
# One region's `movr serve` on the cluster of three-nodes.sh, in the foreground; Ctrl-C ends it.
#   ./deploy/local/serve.sh REGION            serves on the port that the shipped catalogue names
#   ./deploy/local/serve.sh REGION COMMAND... runs `movr COMMAND...` with that region's environment:
#                                             `./deploy/local/serve.sh us-east1 migrate`
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/install.sh
# shellcheck source=deploy/local/regions.sh
. deploy/local/regions.sh

need_region "${1:-}"
region=$1
shift
# What was built last: by deploy/demo.sh, or for a release.
target=${CARGO_TARGET_DIR:-target}
# shellcheck disable=SC2012
movr=$(ls -t "$target/release/movr" "$target/demo/movr" 2>/dev/null | head -n1) || true
[ -n "$movr" ] || fail "there is no program: run ./deploy/demo.sh or cargo build --release first"

# The same key in all regions, so that a session of one is known in the others.
mkdir -p "$home"
if [ ! -s "$home/secret-key" ]; then
  (umask 077 && openssl rand -base64 64 | tr -d '\n' >"$home/secret-key")
fi
MOVR_SECRET_KEYS=$(cat "$home/secret-key")
export MOVR_SECRET_KEYS
export MOVR_REGION=$region
DATABASE_URL=$(database_url "$region")
export DATABASE_URL
for other in $regions; do
  [ "$other" = "$region" ] && continue
  # MOVR_DATABASE_URL_EUROPE_WEST1, and so on
  name=MOVR_DATABASE_URL_$(echo "$other" | tr '[:lower:]-' '[:upper:]_')
  url=$(database_url "$other")
  export "$name=$url"
done
MOVR_LISTEN=127.0.0.1:$(web_port "$region")
MOVR_PUBLIC_URL=${MOVR_PUBLIC_URL:-http://localhost:$(web_port "$region")}
# Nobody's balancer has to notice.
MOVR_DRAIN_DELAY_MS=${MOVR_DRAIN_DELAY_MS:-0}
export MOVR_LISTEN MOVR_PUBLIC_URL MOVR_DRAIN_DELAY_MS

[ $# -gt 0 ] || set -- serve
exec "$movr" "$@"
