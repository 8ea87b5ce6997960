#!/usr/bin/env bash
# Runs the image under the restrictions of deploy/k8s/base/deployment.yaml and asks it for an inference, with and without
# a token: deploy/docker/try.sh [IMAGE] [BUNDLE]. KSERVE=1 starts it as deploy/k8s/components/kserve does. Needs podman (or
# ENGINE=docker), curl and python3. Prints what it measured as JSON; exits 1 where a budget or a restriction does not hold.
set -euo pipefail
cd "$(dirname "$0")/../.."

image=${1:-localhost/bedside:cpu}
bundle=$(realpath "${2:-apps/heart_disease}")
name=$(basename "$bundle")
engine=${ENGINE:-podman}
most_bytes=${MOST_BYTES:-1500000000} most_seconds=${MOST_SECONDS:-20}
container=bedside-try-$$
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
trap '"$engine" rm --force "$container" >/dev/null 2>&1 || true' EXIT
fail() { echo "try.sh: $*" >&2; "$engine" logs --tail 20 "$container" >&2 || true; exit 1; }
now() { date +%s.%N; }

if [ -n "${KSERVE:-}" ]; then
  model=an-inference-service inner=8080 root=/mnt/models
  start=(serve "$root" "--model-name=$model" "--port=$inner")
  settings=(--env BEDSIDE_RUNTIME__STAGING_DIR=/tmp)
else
  model=$name inner=8000 root=/bundles/$name
  start=(serve /bundles)
  settings=(--volume "$PWD/deploy/k8s/base/settings.toml:/etc/bedside/settings.toml:ro"
    --env BEDSIDE_CONFIG=/etc/bedside/settings.toml --shm-size 512m)
fi

begin=$(now)
# `env` is not production here, for the embedded issuer's sake: no identity provider is at hand. All else is the pod's.
"$engine" run --detach --name "$container" --publish "127.0.0.1:$port:$inner" --no-healthcheck \
  --user 10001:10001 --read-only --cap-drop ALL --security-opt no-new-privileges \
  --tmpfs /tmp:rw,noexec,nosuid,nodev,size=512m,mode=1777 --memory 2g --pids-limit 256 \
  --volume "$bundle:$root:ro" "${settings[@]}" --env BEDSIDE_ENV=test "$image" "${start[@]}" >/dev/null

until status=$(curl --silent --output /dev/null --write-out '%{http_code}' "http://127.0.0.1:$port/readyz") && [ "$status" = 200 ]; do
  [ "$(python3 -c "import time; print(int(time.time() - $begin > 4 * $most_seconds))")" = 0 ] || fail "not ready"
  [ "$("$engine" inspect --format '{{.State.Running}}' "$container")" = true ] || fail "ended"
  sleep 0.2
done
ready=$(python3 -c "import time; print(round(time.time() - $begin, 2))")

inside() { "$engine" exec "$container" "$@"; }
python() { "$engine" exec --interactive "$container" /opt/bedside/bin/python3 -; } # the program comes in by standard input
# What all processes have computed since, those included that have ended: seconds to ready say how busy the machine is, too.
computed=$(python <<'PY'
import os, pathlib
stats = [path.read_text().rpartition(")")[2].split() for path in pathlib.Path("/proc").glob("[0-9]*/stat") if path.parent.name != str(os.getpid())]
print(round(sum(int(ticks) for stat in stats for ticks in stat[11:15]) / os.sysconf("SC_CLK_TCK"), 2))
PY
)
inside bedside health --url "http://127.0.0.1:$inner/readyz" || fail "bedside health says no"
python <<'PY' || fail "a restriction does not hold"
import os, pathlib, shutil
status = dict(line.split(":\t", 1) for line in pathlib.Path("/proc/1/status").read_text().splitlines() if ":\t" in line)
assert os.getuid() == os.getgid() == 10001, "not uid 10001"
assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0, "capabilities are left"
assert status["NoNewPrivs"] == "1", "privileges can be gained"
assert status["Seccomp"] == "2", "no seccomp filter"
for folder in ("/", "/opt/bedside", "/etc", "/run"):
    try:
        pathlib.Path(folder, "written").touch()
    except OSError:
        continue
    raise AssertionError(f"{folder} can be written")
tools = [tool for tool in ("gcc", "cc", "make", "pip", "pip3", "git", "curl") if shutil.which(tool)]
assert not tools, f"build tools: {tools}"
from importlib.util import cache_from_source, find_spec
for name in ("bedside", "monai", "torch", "json"):  # PEP 552: the second word of unchecked bytecode is 1
    assert pathlib.Path(cache_from_source(find_spec(name).origin)).read_bytes()[4:8] == b"\1\0\0\0", f"{name} is compiled at each start"
PY

url=http://127.0.0.1:$port/v1/models/$model/predict
record=$(python3 -c "import json; case = json.load(open('$bundle/golden/cases.json'))[0]; print(json.dumps(next(iter(case['inputs'].values()))))")
ask() { curl --silent --output "$1" --write-out '%{http_code}' --header 'content-type: application/json' --data "$record" "${@:2}" "$url"; }
answer=$(mktemp)
[ "$(ask "$answer")" = 401 ] || fail "answers without a token: $(cat "$answer")"
token=$(inside bedside token 2>/dev/null)
[ "$(ask "$answer" --header "authorization: Bearer $token")" = 200 ] || fail "no answer with a token: $(cat "$answer")"

size=$("$engine" image inspect --format '{{.Size}}' "$image")
"$engine" stop --time 40 "$container" >/dev/null
[ "$("$engine" inspect --format '{{.State.ExitCode}}' "$container")" = 0 ] || fail "did not end in an orderly way"
python3 - "$image" "$size" "$ready" "$most_bytes" "$most_seconds" "$answer" "$computed" <<'PY'
import json, sys
image, size, ready, most_bytes, most_seconds, answer, computed = sys.argv[1:]
measured = {"image": image, "bytes": int(size), "seconds_to_ready": float(ready), "cpu_seconds_to_ready": float(computed), "answer": json.load(open(answer))}
print(json.dumps(measured, indent=2))
over = [name for name, value, most in (("size", size, most_bytes), ("start", ready, most_seconds)) if float(value) > float(most)]
sys.exit(f"over budget: {', '.join(over)}" if over else 0)
PY
