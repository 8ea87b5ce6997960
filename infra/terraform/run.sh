#!/usr/bin/env bash
# run.sh plan|apply ROOT [SITE]: a root of infra/terraform/live, with its values (site.tfvars, release.tfvars) and backend.hcl, where
# it has them. A platform's root is given the SITE that it stands on, and takes what that hands over. `apply` makes a plan,
# asks where somebody can answer, and applies exactly that; the plan is thrown away, for it may hold secrets.
set -euo pipefail
cd "$(dirname "$0")/live/${2:?root}"
umask 077
plan=$(mktemp)
trap 'rm -f "$plan"' EXIT

if [ -n "${3:-}" ]; then
  for output in handover credentials; do
    printf '{"%s": %s}\n' "$output" "$(terraform -chdir="../$3" output -json "$output")" > "$output.auto.tfvars.json"
  done
fi
init=() values=()
if [ -f backend.hcl ]; then init+=(-backend-config=backend.hcl); fi
# A root that is kept in a repository keeps its lock file, too.
if [ -f .terraform.lock.hcl ]; then init+=(-lockfile=readonly); fi
for file in site.tfvars release.tfvars; do if [ -f "$file" ]; then values+=("-var-file=$file"); fi; done

terraform init -input=false "${init[@]}"
terraform plan -input=false -lock-timeout=5m "${values[@]}" -out="$plan"
case $1 in
  plan) ;;
  apply)
    if [ -t 0 ]; then read -rp "Apply this? Only 'yes' will do: " answer; [ "$answer" = yes ]; fi
    terraform apply -input=false "$plan" ;;
  *) exit 2 ;;
esac
