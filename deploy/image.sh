#!/usr/bin/env bash
# Builds a variant, tries it, and pushes it: image.sh cpu|cuda REPOSITORY. Prints REPOSITORY@sha256:… and leaves the bill of
# materials in sbom.cdx.json. The CUDA variant is built and pushed without a try: a runner has no GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
export IMAGE=localhost/bedside:$1 SBOM=$PWD/sbom.cdx.json
deploy/docker/build.sh "$1"
if [ "$1" = cpu ]; then deploy/docker/try.sh "$IMAGE" apps/heart_disease; fi
digest=$(mktemp)
buildah push --quiet --digestfile "$digest" "$IMAGE" "docker://$2:$1"
reference=$2@$(cat "$digest")
echo "$reference"
if [ -n "${GITHUB_OUTPUT:-}" ]; then echo "reference=$reference"; echo "digest=${reference#*@}"; fi >> "${GITHUB_OUTPUT:-/dev/null}"
