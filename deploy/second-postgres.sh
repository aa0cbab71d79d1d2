#!/usr/bin/env bash
# Runs a command beside a second PostgreSQL, which is unlike the one that tests start themselves:
# other port, other user (no superuser), TLS with an authority of its own, passwords by SCRAM.
#   ./deploy/second-postgres.sh cargo nextest run --test it
# The command finds the server by TEST_DATABASE_URL; afterwards it is stopped and removed.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/install.sh
[ $# -gt 0 ] || fail "usage: deploy/second-postgres.sh COMMAND [ARGUMENT...]"
need_postgres
have openssl || need openssl openssl openssl

bin=$(postgres_bin)

# PostgreSQL refuses to run as root: then it gets an unprivileged user, who must be able to enter.
owner=$(id -un)
if [ "$(id -u)" -eq 0 ]; then
  owner=postgres
  id postgres >/dev/null 2>&1 || owner=nobody
fi
as_owner() {
  if [ "$owner" = "$(id -un)" ]; then
    "$@"
  elif have runuser; then
    runuser -u "$owner" -- "$@"
  else
    setpriv --reuid="$owner" --regid="$(id -g "$owner")" --clear-groups -- "$@"
  fi
}

home=$(mktemp -d "${TMPDIR:-/tmp}/movr-second.XXXXXX")
chmod 711 "$home"
data=$home/data
clean_up() {
  trap - EXIT INT TERM
  local pid
  if pid=$(head -n1 "$data/postmaster.pid" 2>/dev/null); then
    kill -INT "$pid" 2>/dev/null || true
    for _ in $(seq 100); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
  fi
  rm -rf "$home"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# An authority, and a certificate of it for this machine, for as long as `movr doctor` does not warn of its end.
tls=$home/tls
mkdir "$tls"
(
  cd "$tls"
  cat >authority.conf <<CONF
[req]
distinguished_name = name
prompt = no
[name]
CN = Second PostgreSQL authority
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[server]
basicConstraints = CA:FALSE
subjectAltName = DNS:localhost, IP:127.0.0.1
extendedKeyUsage = serverAuth
CONF
  {
    openssl ecparam -name prime256v1 -genkey -noout -out authority.key
    openssl req -x509 -new -key authority.key -days 90 -config authority.conf -extensions authority -out authority.crt
    openssl ecparam -name prime256v1 -genkey -noout -out server.key
    openssl req -new -key server.key -subj /CN=localhost -config authority.conf -out server.csr
    openssl x509 -req -in server.csr -CA authority.crt -CAkey authority.key -CAcreateserial -days 90 \
      -extfile authority.conf -extensions server -out server.crt
  } >openssl.log 2>&1 || { cat openssl.log >&2; exit 1; }
)

secret() { openssl rand -hex 16; }
password=$(secret)
secret >"$home/superuser"
mkdir "$data"
chmod 700 "$data"
chmod 600 "$home/superuser"
cp "$tls/server.crt" "$tls/server.key" "$home/"
chmod 600 "$home/server.key"
[ "$owner" = "$(id -un)" ] || chown "$owner" "$data" "$home/superuser" "$home/server.key" "$home/server.crt"

# A port that is free now; PostgreSQL's own is left alone, and so are those that the system gives
# to outgoing connections: the tests just ended have left many of them in use.
port=
for candidate in $(seq 15432 15499); do
  if ! (exec 3<>"/dev/tcp/127.0.0.1/$candidate") 2>/dev/null; then
    port=$candidate
    break
  fi
done
[ -n "$port" ] || fail "no free port from 15432 to 15499"

say "Second PostgreSQL on port $port ($("$bin/postgres" --version))"
(
  cd "$home"
  as_owner "$bin/initdb" -D "$data" -U root_of_other -A scram-sha-256 --pwfile="$home/superuser" -E UTF8 --locale=C \
    --no-sync >"$home/initdb.log" 2>&1 || { cat "$home/initdb.log" >&2; exit 1; }
  cat >>"$data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = ''
max_connections = 400
ssl = on
ssl_cert_file = '$home/server.crt'
ssl_key_file = '$home/server.key'
fsync = off
synchronous_commit = off
full_page_writes = off
CONF
  # Only with TLS, only by password.
  echo "hostssl all all 127.0.0.1/32 scram-sha-256" >"$data/pg_hba.conf"
  echo "CREATE ROLE other LOGIN NOSUPERUSER CREATEDB CREATEROLE PASSWORD '$password'" |
    as_owner "$bin/postgres" --single -D "$data" postgres >"$home/role.log" 2>&1 || { cat "$home/role.log" >&2; exit 1; }
  as_owner "$bin/postgres" -D "$data" >"$home/server.log" 2>&1 &
)
for _ in $(seq 300); do
  grep -qs "ready to accept connections" "$home/server.log" && break
  sleep 0.1
done
grep -q "ready to accept connections" "$home/server.log" || { cat "$home/server.log" >&2; exit 1; }

export TEST_DATABASE_URL="postgresql://other:$password@localhost:$port/postgres?sslmode=verify-full&sslrootcert=$tls/authority.crt"
status=0
"$@" || status=$?
exit "$status"
