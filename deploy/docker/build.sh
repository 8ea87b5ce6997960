#!/usr/bin/env bash
# Builds the image: deploy/docker/build.sh [cpu|cuda]. What it builds from is in versions.env; an environment variable of
# the same name wins, so that a machine without the internet builds from a local image and a folder of wheels:
#   PYTHON_IMAGE=localhost/python:3.11 WHEELS=/media/wheels TORCH_INDEX_CPU= deploy/docker/build.sh cpu
# IMAGE names the result (default bedside:<variant>). Prints its name, size and bill of materials.
set -euo pipefail
cd "$(dirname "$0")/../.."

variant=${1:-cpu}
case $variant in cpu | cuda) ;; *) echo "usage: $0 [cpu|cuda]" >&2; exit 2 ;; esac
while IFS='=' read -r name value; do
  [[ $name =~ ^[A-Z_]+$ ]] && [[ ! -v $name ]] && declare "$name=$value"
done < deploy/docker/versions.env || true

engine=${ENGINE:-$(command -v buildah || command -v podman || command -v docker)}
image=${IMAGE:-localhost/bedside:$variant}
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
# Committed files only: a stray notebook or key beside the code is not an ingredient.
git archive HEAD framework pyproject.toml README.md LICENSE constraints.txt | tar -x -C "$context"
mkdir "$context/wheels"
if [ -n "${WHEELS:-}" ]; then cp "$WHEELS"/*.whl "$context/wheels/"; fi

flags=(--file deploy/docker/Containerfile --tag "$image"
  --build-arg "PYTHON_IMAGE=$PYTHON_IMAGE" --build-arg "VARIANT=$variant" --build-arg "TORCH_INDEX=$TORCH_INDEX_CPU"
  --build-arg "EXTRAS=$EXTRAS" --build-arg "CYCLONEDX_BOM=$CYCLONEDX_BOM"
  --build-arg "VERSION=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' framework/bedside/version.py)"
  --build-arg "REVISION=$(git rev-parse HEAD)")
case $(basename "$engine") in
  buildah | podman)
    # HEALTHCHECK is docker's; a site's own authorities are lent to the build, not left in the image.
    flags+=(--format docker --network host)
    authorities=${SSL_CERT_FILE:-}
    if [ -n "$authorities" ]; then flags+=(--volume "$authorities:/etc/ssl/certs/ca-certificates.crt:ro"); fi ;;
esac
# BUILD_FLAGS: for example `--isolation chroot` where an engine runs inside a container.
# shellcheck disable=SC2086
"$engine" build "${flags[@]}" ${BUILD_FLAGS:-} "$context"

if [ -n "${SBOM:-}" ]; then
  runner=${RUNNER:-$(command -v podman || command -v docker)}
  "$runner" run --rm --network none --entrypoint cat "$image" /opt/bedside/sbom.cdx.json > "$SBOM"
fi
echo "built $image"
