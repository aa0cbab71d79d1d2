# shellcheck shell=bash
# Sourced by demo.sh and test.sh: functions that put in place what is missing, and touch nothing that
# is there. Debian and Ubuntu by apt (as root or by sudo), macOS by brew. Plain bash 3.2, for macOS.

say() { printf '\n==> %s\n' "$*"; }
fail() { printf '\nerror: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Whether apt can be used: by root, or by sudo when it asks for no password or someone can type one.
can_apt() {
  have apt-get || return 1
  [ "$(id -u)" -eq 0 ] && return 0
  have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

apt_updated=
apt_install() {
  say "Installing $* (apt)"
  if [ -z "$apt_updated" ]; then
    as_root apt-get update -q
    apt_updated=yes
  fi
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends "$@" </dev/null
}

brew_install() {
  have brew || fail "Homebrew is needed to install $*: see https://brew.sh"
  say "Installing $* (brew)"
  brew install "$@"
}

# need WHAT APT_PACKAGES BREW_PACKAGES: installs, or says what is missing.
need() {
  if [ "$(uname -s)" = Darwin ]; then
    # shellcheck disable=SC2086
    brew_install $3
  elif can_apt; then
    # shellcheck disable=SC2086
    apt_install $2
  else
    fail "$1 is missing, and this user may not install it; ask an administrator for: $2"
  fi
}

compiles() { printf '#include <stdlib.h>\nint main(void) { return 0; }\n' | cc -x c -o /dev/null - 2>/dev/null; }

need_compiler() {
  compiles && return
  if [ "$(uname -s)" = Darwin ]; then
    fail "no C compiler: run xcode-select --install, then this script again"
  fi
  need "a C compiler" "gcc libc6-dev" ""
}

need_curl() {
  if ! have curl; then
    need curl "curl ca-certificates" curl
  elif [ "$(uname -s)" = Linux ] && [ ! -e /etc/ssl/certs/ca-certificates.crt ] && can_apt; then
    apt_install ca-certificates
  fi
}

# Rust of the version that Cargo.toml asks for, or newer.
rust_is_new_enough() {
  have cargo || return 1
  local wanted found
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  found=$(cargo --version 2>/dev/null | cut -d' ' -f2)
  [ -n "$found" ] && [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n1)" = "$wanted" ]
}

need_rust() {
  rust_is_new_enough && return
  PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
  export PATH
  rust_is_new_enough && return
  if have rustup; then
    say "Updating Rust (rustup)"
    rustup toolchain install stable --profile minimal
  else
    need_curl
    say "Installing Rust (rustup, minimal profile)"
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
      sh -s -- -y --profile minimal --default-toolchain stable --no-modify-path
  fi
  rust_is_new_enough && return
  export RUSTUP_TOOLCHAIN=stable
  rust_is_new_enough || fail "cargo is still too old; Cargo.toml says which version is needed"
}

# Prints the folder of PostgreSQL's programs, the newest of the places that src/local/binaries.rs looks at too.
postgres_bin() {
  if [ -n "${MOVR_PG_BIN:-}" ]; then
    echo "$MOVR_PG_BIN"
    return
  fi
  if have postgres && have initdb; then
    dirname "$(command -v initdb)"
    return
  fi
  local folder found=
  for folder in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql*/bin \
    /usr/local/opt/postgresql*/bin /Applications/Postgres.app/Contents/Versions/*/bin; do
    [ -x "$folder/postgres" ] && [ -x "$folder/initdb" ] && found=$folder
  done
  [ -n "$found" ] && echo "$found"
}

need_postgres() {
  postgres_bin >/dev/null && return
  if [ "$(uname -s)" = Darwin ] && have brew; then
    brew_install postgresql@17
  elif can_apt; then
    # Only the programs are wanted: without this, Debian makes and starts a server on port 5432.
    apt_install postgresql-common
    as_root sed -i 's/^#*create_main_cluster *=.*/create_main_cluster = false/' \
      /etc/postgresql-common/createcluster.conf
    apt_install postgresql
  else
    unpack_postgres
  fi
}

# Without root: the PyPI wheel `pgserver` holds PostgreSQL's programs.
unpack_postgres() {
  local target=$PWD/target/pgserver bin=
  bin=$target/pgserver/pginstall/bin
  if [ ! -x "$bin/postgres" ]; then
    have python3 && python3 -m pip --version >/dev/null 2>&1 ||
      fail "PostgreSQL is missing. Install it, or python3 with pip, from which it can be fetched without root"
    say "Fetching PostgreSQL's programs (wheel pgserver) into target/pgserver"
    mkdir -p "$target"
    # The programs do not depend on the Python version that the wheel is made for.
    python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 \
      --implementation cp --abi cp312 -d "$target" pgserver==0.1.4
    python3 -m zipfile -e "$target"/pgserver-*.whl "$target"
    chmod +x "$bin"/*
  fi
  export MOVR_PG_BIN=$bin
}

need_haproxy() {
  have haproxy && return
  # Where Debian puts it, which is not on everybody's PATH.
  PATH=$PATH:/usr/sbin
  export PATH
  have haproxy || need HAProxy haproxy haproxy
}

cockroach_version=v25.4.11

need_cockroach() {
  have cockroach && return
  local platform target
  case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) platform=linux-amd64 ;;
    Linux-aarch64 | Linux-arm64) platform=linux-arm64 ;;
    Darwin-x86_64) platform=darwin-10.9-amd64 ;;
    Darwin-arm64) platform=darwin-11.0-arm64 ;;
    *) fail "there is no CockroachDB archive for $(uname -s) on $(uname -m)" ;;
  esac
  target=$PWD/target/cockroach-$cockroach_version.$platform
  if [ ! -x "$target/cockroach" ]; then
    need_curl
    say "Fetching CockroachDB $cockroach_version for $platform"
    rm -rf "$target.part"
    mkdir -p "$target.part"
    curl --proto '=https' -fL --progress-bar \
      "https://binaries.cockroachdb.com/cockroach-$cockroach_version.$platform.tgz" |
      tar -xz -C "$target.part" --strip-components 1
    mv "$target.part" "$target"
  fi
  PATH="$target:$PATH"
  export PATH
}
