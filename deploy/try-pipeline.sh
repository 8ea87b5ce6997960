#!/usr/bin/env bash
# Takes a bundle from a commit to an authenticated HTTPS answer by the new digest, with the pipeline's own stages, on this
# machine: deploy/try-pipeline.sh [IMAGE]. What stands in for the rest: a bare repository for GitHub, an OCI layout on disk for
# the registry, podman with the pod's restrictions for the cluster. Prints the seconds of each stage.
#
# Needs git, skopeo, podman, curl, openssl, bedside on the PATH (or in .venv), and an image (deploy/docker/build.sh).
set -euo pipefail
cd "$(dirname "$0")/.."
source_tree=$PWD
PATH=$PWD/.venv/bin:$PATH

image=${1:-localhost/bedside:cpu}
bundle=heart_disease
work=$(mktemp -d)
container=bedside-pipeline-$$
trap 'podman rm --force "$container" >/dev/null 2>&1 || true; podman image rm --force "localhost/bundles/$bundle:try" >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
now() { date +%s%N; }
stages=() last=0
stage() { local t; t=$(now); stages+=("$1=$(( (t - last) / 1000000 ))"); last=$t; }

# A site: a repository that runs nothing yet.
git clone --quiet --bare "$source_tree" "$work/origin.git"
git clone --quiet "$work/origin.git" "$work/site"
cd "$work/site"
git config user.name "try" && git config user.email "try@example.org"
if [ -e "$source_tree/.venv" ]; then ln -s "$(realpath "$source_tree/.venv")" .venv; fi
export PYTHONPATH=$PWD/framework
pinned=${image%:*}@$(podman image inspect --format '{{.Digest}}' "$image")
for environment in dev production; do bedside ship pin "$environment" --image "$pinned"; done
git commit --quiet --all --message "Pin the image"
base=$(git rev-parse HEAD)

# A data scientist's work: a new version of a bundle. One commit, one push; from here on nobody does anything.
python3 - "apps/$bundle/configs/metadata.json" <<'PY'
import json, pathlib, sys
path = pathlib.Path(sys.argv[1])
metadata = json.loads(path.read_text())
metadata["version"] = "9.9.9"
path.write_text(json.dumps(metadata, indent=2))
PY
git add apps
git commit --quiet --message "A better $bundle"
begin=$(now) last=$begin
git push --quiet origin HEAD
stage push

changes=$(deploy/pipeline.sh detect "$base" HEAD)
[ "$(python3 -c 'import json, sys; print(*json.loads(sys.argv[1])["deliver"])' "$changes")" = "$bundle" ]
stage detect
deploy/pipeline.sh check "$bundle" > "$work/check.log" 2>&1 || { cat "$work/check.log" >&2; exit 1; }
grep --quiet "checked in the pinned image" "$work/check.log"
stage check
mkdir "$work/published" "$work/registry"
deploy/pipeline.sh publish "$bundle" "$work/registry" > "$work/published/$bundle"
stage publish
deploy/pipeline.sh pin dev "$work/published" > /dev/null
deploy/pipeline.sh promote dev production "$bundle" > /dev/null
git push --quiet origin HEAD
stage pin

# The node: it pulls what the pins name, by digest, and mounts it as an image volume.
reference=$(python3 -c 'import json, sys; print(json.load(open("deploy/k8s/environments/production/pins.json"))["bundles"][sys.argv[1]])' "$bundle")
digest=${reference#*@}
[ "$(skopeo inspect --format '{{.Digest}}' "oci:$work/registry/$bundle:9.9.9")" = "$digest" ]
skopeo copy --quiet "oci:$work/registry/$bundle:9.9.9" "containers-storage:localhost/bundles/$bundle:try"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost -keyout "$work/key.pem" -out "$work/certificate.pem" 2>/dev/null
chmod 0644 "$work/key.pem"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
podman run --detach --name "$container" --publish "127.0.0.1:$port:8000" --no-healthcheck \
  --user 10001:10001 --read-only --cap-drop ALL --security-opt no-new-privileges \
  --tmpfs /tmp:rw,noexec,nosuid,nodev,size=512m,mode=1777 --shm-size 512m --memory 2g --pids-limit 256 \
  --mount "type=image,source=localhost/bundles/$bundle:try,destination=/bundles" \
  --volume "$work/certificate.pem:/tls/certificate.pem:ro" --volume "$work/key.pem:/tls/key.pem:ro" --env BEDSIDE_ENV=test \
  "$image" serve /bundles --tls-certificate /tls/certificate.pem --tls-key /tls/key.pem > /dev/null 2> "$work/podman.log" || { cat "$work/podman.log" >&2; exit 1; }
url=https://localhost:$port
ask() { curl --silent --cacert "$work/certificate.pem" --connect-to "localhost:$port:127.0.0.1:$port" "$@"; }
until [ "$(ask --output /dev/null --write-out '%{http_code}' "$url/readyz" || true)" = 200 ]; do
  [ "$(podman inspect --format '{{.State.Running}}' "$container")" = true ] || { podman logs "$container" >&2; exit 1; }
  sleep 0.2
done
stage start
record=$(python3 -c 'import json, sys; print(json.dumps(next(iter(json.load(open(sys.argv[1]))[0]["inputs"].values()))))' "apps/$bundle/golden/cases.json")
predict() { ask --output "$work/answer" --write-out '%{http_code}' --header 'content-type: application/json' --data "$record" "$@" "$url/v1/models/$bundle/predict"; }
[ "$(predict)" = 401 ]
token=$(podman exec "$container" bedside token 2>/dev/null)
[ "$(predict --header "authorization: Bearer $token")" = 200 ] || { cat "$work/answer" >&2; exit 1; }
[ "$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["version"])' "$work/answer")" = 9.9.9 ]
stage answer

python3 - "$(( (last - begin) / 1000000 ))" "${stages[@]}" <<'PY'
import sys
total, *stages = sys.argv[1:]
print("| stage | seconds |\n|---|---:|")
for stage in stages:
    name, milliseconds = stage.split("=")
    print(f"| {name} | {int(milliseconds) / 1000:.1f} |")
print(f"| **from push to answer** | **{int(total) / 1000:.1f}** |")
PY
