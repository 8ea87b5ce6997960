#!/usr/bin/env bash
# run.sh plan|apply ROOT: a root of infra/terraform/live. A plan is shown and thrown away: it may hold secrets, so it is
# not kept between jobs. `apply` makes its own and applies exactly that.
set -euo pipefail
cd "$(dirname "$0")/live/${2:?root}"
plan=$(mktemp)
trap 'rm -f "$plan"' EXIT
terraform init -input=false -lockfile=readonly
terraform plan -input=false -lock-timeout=5m -out="$plan"
case $1 in
  plan) ;;
  apply) terraform apply -input=false "$plan" ;;
  *) exit 2 ;;
esac
