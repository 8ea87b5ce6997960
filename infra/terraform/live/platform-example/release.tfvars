# The release to bring up; the site's own values come with handover.auto.tfvars.json (docs/infrastructure.md).
gpu     = true
release = { semver = ">=0.1.0", path = "./deploy/k8s/overlays/aws" }
