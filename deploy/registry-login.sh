#!/usr/bin/env bash
# Logs buildah and cosign in to REGISTRY (default ghcr.io) with REGISTRY_USER and REGISTRY_TOKEN, never on a command line.
set -euo pipefail
registry=${REGISTRY:-ghcr.io}
printf '%s' "$REGISTRY_TOKEN" | buildah login --username "$REGISTRY_USER" --password-stdin "$registry"
if command -v cosign >/dev/null; then
  printf '%s' "$REGISTRY_TOKEN" | cosign login --username "$REGISTRY_USER" --password-stdin "$registry"
fi
