#!/usr/bin/env bash
# What _deliver.yml does with the repository: pin, promote or roll back, commit, push. By variables: ENVIRONMENT, FROM (empty: pin
# what published/ names), BUNDLES (JSON list), WITHDRAWN (names), ROLLBACK (true: what was pinned before), GITHUB_TOKEN.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH
git config user.name "bedside pipeline"
git config user.email "pipeline@users.noreply.github.com"
read -r -a withdrawn <<< "${WITHDRAWN:-}"
if [ "${ROLLBACK:-}" = true ]; then
  deploy/pipeline.sh rollback "$ENVIRONMENT"
elif [ -z "${FROM:-}" ]; then
  deploy/pipeline.sh pin "$ENVIRONMENT" published "${withdrawn[@]}"
else
  mapfile -t bundles < <(python3 -c 'import json, os; print("\n".join(json.loads(os.environ["BUNDLES"])))')
  deploy/pipeline.sh promote "$FROM" "$ENVIRONMENT" "${bundles[@]}"
  if [ "${#withdrawn[@]}" -gt 0 ]; then deploy/pipeline.sh pin "$ENVIRONMENT" "$(mktemp -d)" "${withdrawn[@]}"; fi
fi
deploy/push.sh main
