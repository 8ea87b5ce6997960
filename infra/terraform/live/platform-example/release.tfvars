# The release to bring up; cosign.pub beside this file is whose signature it must bear. The site's own values come with its handover.
gpu     = true
release = { semver = ">=0.1.0", path = "./deploy/k8s/overlays/aws" }
