#!/usr/bin/env bash
# Points kubectl at an EKS cluster by the credentials of the moment: cluster.sh NAME.
set -euo pipefail
aws eks update-kubeconfig --name "$1"
