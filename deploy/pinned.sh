#!/usr/bin/env bash
# The checks of a bundle with what its pods run: the images that the environments have pinned, by digest.
#
#   pinned.sh pull            fetch them, with REGISTRY_USER and REGISTRY_TOKEN where they are set, which are forgotten before
#                             code of a bundle runs
#   pinned.sh check BUNDLE    vet the bundle and run its golden cases in each, under the pod's restrictions and without a
#                             network; where one is not here, with the Bedside of this commit, and the summary says so
#
# Needs podman and, for what is not here, bedside on the PATH (or in .venv).
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH

# Each once; a new repository's placeholder is no image.
images() {
  python3 -c 'import json, sys; print("\n".join(sorted({json.load(open(path))["image"] for path in sys.argv[1:]})))' \
    deploy/k8s/environments/*/pins.json | grep -v '@sha256:0\{64\}$' || true
}
here() { command -v podman > /dev/null && podman image exists "$1"; }
tell() { echo "$1" >&2; if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then echo "- $1" >> "$GITHUB_STEP_SUMMARY"; fi; }
check() {
  "$@" vet
  "$@" test
}
inside() {
  podman run --rm --pull never --network none --no-healthcheck \
    --user 10001:10001 --read-only --cap-drop ALL --security-opt no-new-privileges \
    --tmpfs /tmp:rw,noexec,nosuid,nodev,size=512m,mode=1777 --shm-size 512m \
    --volume "$PWD/apps/$bundle:/bundles/$bundle:ro" --volume "$PWD/deploy/k8s/base/settings.toml:/etc/bedside/settings.toml:ro" \
    --env BEDSIDE_CONFIG=/etc/bedside/settings.toml --env BEDSIDE_ENV=test "$1" bundle "$2" "/bundles/$bundle"
}
outside() { bedside bundle "$1" "apps/$bundle"; }

mapfile -t pinned < <(images)
case ${1:-} in
  pull)
    REGISTRY_AUTH_FILE=$(mktemp)
    export REGISTRY_AUTH_FILE
    trap 'rm -f "$REGISTRY_AUTH_FILE"' EXIT
    echo '{}' > "$REGISTRY_AUTH_FILE"
    if [ -n "${REGISTRY_TOKEN:-}" ]; then deploy/registry-login.sh || true; fi
    # What cannot be fetched, `check` tells of.
    for image in "${pinned[@]}"; do here "$image" || podman pull --quiet "$image" || true; done ;;
  check)
    bundle=$2 missing=()
    for image in "${pinned[@]}"; do
      if here "$image"; then
        check inside "$image"
        tell "$bundle: checked in the pinned image \`$image\`"
      else
        missing+=("$image")
      fi
    done
    if [ "${#pinned[@]}" -gt 0 ] && [ "${#missing[@]}" = 0 ]; then exit; fi
    check outside
    why=${missing[*]:-none is pinned}
    tell "$bundle: checked with $(bedside --version) of commit $(git rev-parse --short HEAD), **not in the pinned image** ($why)" ;;
  *) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
