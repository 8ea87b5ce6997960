"""Checks of the manifests that need no cluster; deploy/k8s/validate.sh runs them."""
