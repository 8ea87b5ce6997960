#!/usr/bin/env bash
# Checks everything under deploy/ without a cluster; a laptop and CI run the same: deploy/k8s/validate.sh. It renders every
# overlay, validates it against the schemas of Kubernetes and of the custom resources, holds it against the hardening list
# (validation/rules.py), and makes sure that a worse manifest would be refused. Its tools come from PyPI into an environment
# of their own (TOOLS, default .cache/deploy-tools), pinned in validation/requirements.txt.
#
# CRDS=FOLDER checks against the custom resource definitions themselves as well, and refreshes validation/crds.lock.json.
set -euo pipefail
cd "$(dirname "$0")/../.."

tools=${TOOLS:-.cache/deploy-tools}
wanted=$(sha256sum deploy/k8s/validation/requirements.txt | cut -d' ' -f1)
if [ "$(cat "$tools/.installed" 2>/dev/null)" != "$wanted" ]; then
  echo "── installing the tools into $tools"
  "${PYTHON:-python3}" -m venv "$tools"
  "$tools/bin/python" -m pip install --quiet --disable-pip-version-check -r deploy/k8s/validation/requirements.txt
  echo "$wanted" > "$tools/.installed"
fi
PATH=$(cd "$tools/bin" && pwd):$PATH
export PATH PYTHONPATH=$PWD/framework:$PWD/deploy/k8s PYTHONDONTWRITEBYTECODE=1

if [ -n "${CRDS:-}" ]; then python -m validation.schemas "$CRDS"; fi
python -m pytest -q -p no:cacheprovider -c deploy/k8s/tests/pytest.ini deploy/k8s/tests
hadolint deploy/docker/Containerfile
shellcheck deploy/docker/*.sh deploy/elastic/*.sh deploy/k8s/*.sh deploy/*.sh
check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
