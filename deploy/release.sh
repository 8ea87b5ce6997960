#!/usr/bin/env bash
# release.sh build TAG: wheel and source archive into dist/, where the tag is the version that the package says.
# release.sh publish TAG: a release of GitHub with them; its notes are the version's part of CHANGELOG.md. Needs gh and GH_TOKEN.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' framework/bedside/version.py)
[ "$2" = "v$version" ] || { echo "the tag is $2, and the package v$version" >&2; exit 1; }
notes=$(mktemp)
trap 'rm -f "$notes"' EXIT
awk -v head="## [$version]" 'index($0, "## [") == 1 { on = index($0, head) == 1; next } on' CHANGELOG.md > "$notes"
grep -q '[^[:space:]]' "$notes" || { echo "CHANGELOG.md has no part for $version" >&2; exit 1; }
case $1 in
  build)
    python3 -m venv .cache/build
    .cache/build/bin/pip install --quiet --disable-pip-version-check 'build>=1.2,<2'
    rm -rf dist
    .cache/build/bin/python -m build --outdir dist ;;
  publish) gh release create "$2" --verify-tag --notes-file "$notes" dist/* ;;
  *) sed -n '2,3s/^# //p' "$0" >&2; exit 2 ;;
esac
