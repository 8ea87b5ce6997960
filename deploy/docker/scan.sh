#!/usr/bin/env bash
# Looks the packages of a bill of materials up in the advisories of PyPI: scan.sh SBOM. Exits 1 where one is known to be
# vulnerable. Needs the internet.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 - "$1" > "$work/requirements.txt" <<'PY'
import json, sys
for part in json.load(open(sys.argv[1]))["components"]:
    if part.get("purl", "").startswith("pkg:pypi/") and part["name"] != "bedside":
        print(f"{part['name']}=={part['version'].split('+')[0]}")
PY
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pip-audit==2.9.0
"$work/venv/bin/pip-audit" --strict --no-deps --disable-pip --requirement "$work/requirements.txt"
