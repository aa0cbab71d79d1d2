#!/usr/bin/env bash
# All checks of MovR, from a clean clone: installs what they need, then runs them in this order and
# stops at the first that fails. No input, no options; as root or as a user.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/install.sh
exec </dev/null

axe_version=4.14.1

need_compiler
need_rust
cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
need_postgres
need_haproxy
if ! have chromedriver || ! { have chromium || have google-chrome || [ "$(uname -s)" = Darwin ]; }; then
  need "Chromium with its driver" "chromium chromium-driver" "--cask chromium chromedriver"
fi
have npm || need "npm" npm node

# The accessibility rules that the browser tests put into every page.
axe=$PWD/target/axe-$axe_version
if [ ! -f "$axe/package/axe.min.js" ]; then
  say "Fetching axe-core $axe_version"
  mkdir -p "$axe"
  (cd "$axe" && npm pack --silent "axe-core@$axe_version" && tar -xzf "axe-core-$axe_version.tgz")
fi
export MOVR_AXE=$axe/package/axe.min.js

# Test databases live here; open to the unprivileged user that runs PostgreSQL when we are root.
MOVR_TEST_DATA=$(mktemp -d "${TMPDIR:-/tmp}/movr-test.XXXXXX")
export MOVR_TEST_DATA
chmod 711 "$MOVR_TEST_DATA"
# The server of a run of tests ends with it, a moment later.
clean_up() {
  local pids
  for _ in $(seq 300); do
    pids=$(find "$MOVR_TEST_DATA" -name postmaster.pid -exec head -n1 {} \; 2>/dev/null) || true
    # shellcheck disable=SC2086
    [ -n "$pids" ] && kill -INT $pids 2>/dev/null || break
    sleep 0.1
  done
  rm -rf "$MOVR_TEST_DATA"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if cargo nextest --version >/dev/null 2>&1; then
  tests=(cargo nextest run --locked --features otlp --no-fail-fast)
else
  tests=(cargo test --locked --features otlp --no-fail-fast)
fi

say "Format"
cargo fmt --check
say "Lints"
cargo clippy --all-targets --features otlp --locked -- -D warnings
cargo clippy --lib --bins --examples --locked -- -D warnings
say "Documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked
say "Licences of the dependencies"
host=$(rustc -vV | sed -n "s/^host: //p")
cargo metadata --features otlp --format-version 1 --locked --filter-platform "$host" | node deploy/licences.mjs
say "Artefacts of the deployment"
./deploy/artefacts.sh
say "Unit and integration tests"
"${tests[@]}" --lib --bins --test it
say "Integration tests on a second PostgreSQL"
./deploy/second-postgres.sh "${tests[@]}" --test it
say "Container"
./deploy/second-postgres.sh ./deploy/container-test.sh
say "Browser tests"
"${tests[@]}" --test browser
say "All checks passed"
