#!/usr/bin/env bash
# Builds the image of deploy/Dockerfile.
#   ./deploy/image.sh                    as movr:local, in the local Docker
#   ./deploy/image.sh --push NAME:TAG    into a registry, with SBOM and provenance attached
# For the processor of this machine; more arguments go to docker: --platform linux/amd64, which takes long where that one is
# emulated.
# To read them: docker buildx imagetools inspect NAME:TAG --format '{{json .SBOM}}' (or '{{json .Provenance}}').
# To scan it: syft NAME:TAG, or grype NAME:TAG. Without an image: cargo cyclonedx --format json lists the crates.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/install.sh
have docker || fail "docker is missing, see https://docs.docker.com/engine/install"
docker buildx version >/dev/null 2>&1 || fail "docker has no buildx, see https://docs.docker.com/build/concepts/overview/#install-buildx"

arguments=(--file deploy/Dockerfile
  --build-arg "VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n1)"
  --build-arg "REVISION=$(git rev-parse HEAD)"
  --build-arg "CREATED=$(git log -1 --format=%cI)")
case "$#-${1:-}" in
  0-) exec docker buildx build "${arguments[@]}" --load --tag movr:local . ;;
  [2-9]---push)
    # Attestations need a builder of this kind, not the one that is built into Docker.
    docker buildx inspect movr >/dev/null 2>&1 || docker buildx create --name movr --driver docker-container
    exec docker buildx build --builder movr "${arguments[@]}" --sbom=true --provenance=mode=max --push --tag "$2" "${@:3}" .
    ;;
  *) fail "usage: deploy/image.sh [--push NAME:TAG [ARGUMENT...]]" ;;
esac
