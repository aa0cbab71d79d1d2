#!/usr/bin/env bash
# Fails when RustSec knows of a vulnerability in a crate of Cargo.lock, of one that is unsound or was withdrawn, or that
# nobody maintains. Needs the network, so it is no part of test.sh.
#   ./deploy/advisories.sh [more arguments of `cargo audit`]      --db FOLDER --no-fetch --stale without the network
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/install.sh

version=0.22.2
need_compiler
need_rust
tools=$PWD/target/cargo-audit-$version
[ -x "$tools/bin/cargo-audit" ] || cargo install --quiet --locked --root "$tools" --version "=$version" cargo-audit
exec "$tools/bin/cargo-audit" audit --deny warnings "$@"
