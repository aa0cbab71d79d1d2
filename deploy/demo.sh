#!/usr/bin/env bash
# MovR on this machine with one command.
#   ./deploy/demo.sh [--engine auto|postgres|cockroach] [--host ADDR] [--data FOLDER] [--locality auto|off]
#                    [--latency off|FACTOR] [--fresh]      explained by `target/demo/movr help demo`, once it is built
# Installs what is missing (deploy/install.sh says how), builds, and runs `movr demo`.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/install.sh

engine=auto
previous=
for argument in "$@"; do
  case "$previous$argument" in
    --engine=*) engine=${argument#--engine=} ;;
    -h | --help) sed -n '2,5s/^# //p' "$0"; exit ;;
  esac
  [ "$previous" = "--engine" ] && engine=$argument
  previous=
  [ "$argument" = --engine ] && previous=$argument
done
case "$engine" in
  auto | postgres | cockroach) ;;
  *) fail "--engine is $engine; it takes auto, postgres or cockroach" ;;
esac

if [ "$engine" = cockroach ] || { [ "$engine" = auto ] && have cockroach; }; then
  echo "MovR demo on a CockroachDB cluster of nine nodes, with simulated latency. First what is missing is installed, then the program is built."
else
  echo "MovR demo on a private PostgreSQL, with simulated distances between the regions. First what is missing is installed, then the program is built."
fi

need_compiler
need_rust
if [ "$engine" = cockroach ]; then
  need_cockroach
elif [ "$engine" = postgres ] || ! have cockroach; then
  need_postgres
fi

say "Building (the first time takes two to three minutes on two cores)"
cargo build --profile demo --locked --bin movr
exec "${CARGO_TARGET_DIR:-target}/demo/movr" demo "$@"
