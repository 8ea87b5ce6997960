#!/usr/bin/env bash
# Pushes the commits of this checkout to BRANCH with the token in GITHUB_TOKEN, which is kept nowhere: push.sh BRANCH.
# Somebody else's commit in between is taken in first; pins of different bundles do not touch each other's lines.
set -euo pipefail
header="AUTHORIZATION: basic $(printf 'x-access-token:%s' "$GITHUB_TOKEN" | base64 --wrap=0)"
for _ in 1 2 3; do
  if git -c "http.extraheader=$header" push --quiet origin "HEAD:$1"; then exit 0; fi
  git -c "http.extraheader=$header" pull --quiet --rebase origin "$1"
done
exit 1
