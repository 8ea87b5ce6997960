#!/usr/bin/env bash
# The stages between a commit and production, one a call: .github/workflows/bundle-to-production.yml and a laptop
# (deploy/try-pipeline.sh) run these same lines.
#
#   pipeline.sh detect BASE HEAD            which bundles changed, as JSON
#   pipeline.sh check BUNDLE                vet it, then run its golden cases
#   pipeline.sh publish BUNDLE REPOSITORY   push it as an OCI artefact; prints REPOSITORY/BUNDLE@sha256:…
#   pipeline.sh pin ENVIRONMENT FOLDER [WITHDRAWN…]
#                                           pin what FOLDER names (a file a bundle, its reference inside), and commit
#   pipeline.sh promote FROM TO BUNDLE…     `bedside ship promote`, then a commit
#   pipeline.sh rollout ENVIRONMENT OVERLAY apply, watch the canary, take it back where it fails
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH

# What follows the workflow's step, when there is one.
output() { if [ -n "${GITHUB_OUTPUT:-}" ]; then echo "$1" >> "$GITHUB_OUTPUT"; fi; }

# A commit of the environments and of nothing else; none where nothing changed, so that a retry goes through.
commit() {
  git add deploy/k8s/environments
  git diff --cached --quiet || git commit --quiet --message "$1"
}

case ${1:-} in
  detect)
    changes=$(PYTHONPATH=framework "${PYTHON:-python3}" -m bedside.delivery.detect "$2" "$3")
    echo "$changes"
    output "changes=$changes" ;;
  check)
    bedside bundle vet "apps/$2"
    bedside bundle test "apps/$2" ;;
  publish)
    # REPOSITORY is registry.example/bundles, or a folder (/…), which gets an OCI layout for each bundle.
    case $3 in /*) target=$3/$2 name=localhost/bundles/$2 ;; *) target=oci://$3/$2:latest name=$3/$2 ;; esac
    reference=$name@$(bedside bundle push "apps/$2" "$target" | tail -n 1)
    [[ $reference =~ @sha256:[0-9a-f]{64}$ ]] || { echo "no digest: $reference" >&2; exit 1; }
    echo "$reference"
    output "reference=$reference"
    output "digest=${reference#*@}" ;;
  pin)
    options=()
    for file in "$3"/*; do if [ -f "$file" ]; then options+=(--bundle "$(basename "$file")=$(cat "$file")"); fi; done
    for name in "${@:4}"; do options+=(--withdraw "$name"); done
    bedside ship pin "$2" "${options[@]}"
    commit "Pin in $2: $(cd "$3" && printf '%s ' *)${4:+, withdrawn: ${*:4}}" ;;
  promote)
    options=()
    for bundle in "${@:4}"; do options+=(--bundle "$bundle"); done
    bedside ship promote "$2" "$3" "${options[@]}"
    commit "Promote ${*:4} from $2 to $3" ;;
  rollout)
    # Server-side: a field that somebody else owns is a conflict, not an overwriting.
    kubectl apply --server-side --field-manager=bedside-pipeline -k "deploy/k8s/overlays/$3"
    if kubectl --namespace bedside get canary bedside >/dev/null 2>&1; then
      # Flagger moves the weights and takes them back by itself; this says which of the two it was.
      kubectl --namespace bedside wait canary/bedside --for=condition=Promoted --timeout="${ROLLOUT_TIMEOUT:-20m}"
    elif ! kubectl --namespace bedside rollout status deployment/bedside --timeout="${ROLLOUT_TIMEOUT:-10m}"; then
      kubectl --namespace bedside rollout undo deployment/bedside
      echo "rolled back: $2 runs what it ran before" >&2
      exit 1
    fi ;;
  *) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
