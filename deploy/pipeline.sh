#!/usr/bin/env bash
# The stages between a commit and production, one a call: .github/workflows/bundle-to-production.yml and a laptop
# (deploy/try-pipeline.sh) run these same lines.
#
#   pipeline.sh detect BASE HEAD            which bundles changed, as JSON
#   pipeline.sh check BUNDLE                vet it, then run its golden cases, in the image that its pods run where that is
#                                           here (deploy/pinned.sh)
#   pipeline.sh publish BUNDLE REPOSITORY   push it as an OCI artefact, signed where there is a SIGNING_KEY; prints
#                                           REPOSITORY/BUNDLE@sha256:…
#   pipeline.sh pin ENVIRONMENT FOLDER [WITHDRAWN…]
#                                           pin what FOLDER names (a file a bundle, its reference inside), and commit
#   pipeline.sh promote FROM TO BUNDLE…     `bedside ship promote`, then a commit
#   pipeline.sh rollback ENVIRONMENT        `bedside ship rollback`, then a commit
#   pipeline.sh rollout ENVIRONMENT OVERLAY `bedside ship deploy`: watch the canary, take it back where it fails
#   pipeline.sh manifests REPOSITORY [ENVIRONMENT PIN…]
#                                           what Flux pulls: deploy/k8s of this commit, as an OCI artifact, signed where
#                                           there is a COSIGN_KEY; prints REPOSITORY@sha256:…. With options of
#                                           `bedside ship pin`, that and the overlays are committed first. A folder (/…)
#                                           gets an OCI layout, which is signed where it arrives (deploy/courier.py)
#   pipeline.sh gate BUNDLE CANDIDATE [STABLE]
#                                           `bedside ship gate` between two addresses; the token is in BEDSIDE_TOKEN.
#                                           Waits ARRIVAL_SECONDS (900) for CANDIDATE to run the bundle. CANDIDATE none:
#                                           the site has none that is reached from here, and the summary says NOT JUDGED
#
# OVERLAY and CANDIDATE may be the folder of a site on this machine (/…); `promote` and `rollback` take it as SITE.
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
  check) deploy/pinned.sh check "$2" ;;
  publish)
    # REPOSITORY is registry.example/bundles, or a folder (/…), which gets an OCI layout for each bundle.
    if [ -n "${SIGNING_KEY:-}" ]; then bedside bundle sign "apps/$2" --key "$SIGNING_KEY" >&2; fi
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
    options=(${SITE:+--site "$SITE"})
    for bundle in "${@:4}"; do options+=(--bundle "$bundle"); done
    bedside ship promote "$2" "$3" "${options[@]}"
    commit "Promote ${*:4} from $2 to $3" ;;
  rollback)
    bedside ship rollback "$2" ${SITE:+--site "$SITE"} ${REGISTRY:+--registry "$REGISTRY"}
    commit "Roll back $2" ;;
  rollout)
    case $3 in
      /*) bedside ship deploy "$2" --site "$3" ${REGISTRY:+--registry "$REGISTRY"} ${PORT:+--port "$PORT"} ;;
      *) bedside ship deploy "$2" --target "${TARGET:-k3s}" --overlay "$3" ${EVENTS:+--events "$EVENTS"} ;;
    esac ;;
  manifests)
    if [ $# -gt 2 ]; then
      bedside ship pin "${@:3}" >&2
      git add deploy/k8s/overlays
      commit "Pin in $3"
    fi
    # Commits are counted, so that a newer one is a higher version.
    reference=$2@$(python deploy/manifests.py "$2" "0.1.$(git rev-list --count HEAD)")
    if [ -n "${COSIGN_KEY:-}" ] && [[ $2 != /* ]]; then cosign sign --yes --key env://COSIGN_KEY "$reference" >&2; fi
    echo "$reference"
    output "reference=$reference" ;;
  gate)
    # The verdict is for whoever approves: GitHub shows it beside the run.
    reports=${REPORTS:-reports} status=0
    mkdir -p "$reports"
    printf '## %s: NOT JUDGED\n\nNobody has compared it with what production runs. ' "$2" > "$reports/verdict.md"
    case $3 in
      none)
        echo "The site has no candidate that a runner reaches (GATE_CANDIDATE is none). Run bedside ship gate from where both" \
          "servers are reached before you approve." >> "$reports/verdict.md"
        echo "::warning title=NOT JUDGED::nobody has compared $2 with what production runs" ;;
      "")
        echo "GATE_CANDIDATE is not set. It is an address or, where a runner reaches no candidate, none." >> "$reports/verdict.md"
        echo "::error title=NOT JUDGED::GATE_CANDIDATE is not set: an address, or none"
        status=1 ;;
      /*) bedside ship gate "apps/$2" --site "$3" --report "$reports" || status=$? ;;
      *)
        bedside ship gate "apps/$2" --candidate "$3" ${4:+--stable "$4"} --arrival-seconds "${ARRIVAL_SECONDS:-900}" \
          --report "$reports" || status=$? ;;
    esac
    if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then cat "$reports/verdict.md" >> "$GITHUB_STEP_SUMMARY"; fi
    exit "$status" ;;
  *) sed -n '2,28s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
