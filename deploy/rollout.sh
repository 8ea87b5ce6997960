#!/usr/bin/env bash
# Rolls ENVIRONMENT out on CLUSTER by OVERLAY, and tells of it in delivery.log. TARGET eks: kubectl is pointed at the cluster by
# AWS' credentials of the moment; k3s: by KUBECONFIG_CONTENT, which is kept for as long as this runs.
set -euo pipefail
cd "$(dirname "$0")/.."
KUBECONFIG=$(mktemp)
export KUBECONFIG
trap 'rm -f "$KUBECONFIG"' EXIT
if [ "$TARGET" = eks ]; then
  aws eks update-kubeconfig --name "$CLUSTER"
else
  printf '%s' "$KUBECONFIG_CONTENT" > "$KUBECONFIG"
fi
EVENTS=$PWD/delivery.log deploy/pipeline.sh rollout "$ENVIRONMENT" "$OVERLAY"
