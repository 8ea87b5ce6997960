# The first six are outputs of a site, whichever target it has: terraform output -json handover (live/*).

variable "cluster" {
  description = "The cluster, as a site gives it out."
  type        = object({ name = string, target = string, version = string })
  nullable    = false

  validation {
    condition     = contains(["aws", "onprem"], var.cluster.target)
    error_message = "cluster.target must be aws or onprem."
  }
}

variable "gateway" {
  description = "The way in, as a site gives it out: hostname, address on-premises, target group on AWS."
  type        = object({ hostname = string, address = optional(string), target_group_arn = optional(string) })
  nullable    = false

  validation {
    condition     = var.cluster.target != "aws" || var.gateway.target_group_arn != null
    error_message = "gateway.target_group_arn is needed on AWS: the load balancer would have nobody behind it."
  }
}

variable "settings" {
  description = "Environment of the service, as a site gives it out: BEDSIDE_LIMITS__* and the issuer. No secrets: it becomes a ConfigMap."
  type        = map(string)
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.settings) : startswith(name, "BEDSIDE_") && !can(regex("SECRET|PASSWORD|TOKEN|KEY$", name))])
    error_message = "settings are BEDSIDE_* variables that hold no secret."
  }
}

variable "registry" {
  description = "Where the release comes from, as a site gives it out."
  type        = object({ prefix = string })
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._/-]*[a-z0-9])?$", var.registry.prefix))
    error_message = "registry.prefix is a host with an optional port and path."
  }
}

variable "storage" {
  description = "StorageClass of volumes, as a site gives it out. On AWS it is made here."
  type        = object({ class_name = string })
  nullable    = false

  validation {
    condition     = length(var.storage.class_name) > 0
    error_message = "storage.class_name must not be empty."
  }
}

variable "artifacts" {
  description = "Volumes' key (AWS only), and the object store that pods are let out to, by endpoint and addresses, as a site gives them out."
  type        = object({ kms_key_arn = optional(string), endpoint = optional(string), cidrs = optional(list(string), []) })
  default     = {}
  nullable    = false

  validation {
    condition     = var.cluster.target != "aws" || var.artifacts.kms_key_arn != null
    error_message = "artifacts.kms_key_arn is needed on AWS: volumes are encrypted with it."
  }

  validation {
    condition     = !anytrue([for cidr in var.artifacts.cidrs : endswith(cidr, "/0")]) && (length(var.artifacts.cidrs) == 0 || var.artifacts.endpoint != null)
    error_message = "artifacts.cidrs are the addresses of artifacts.endpoint; not the whole world."
  }
}

variable "aws" {
  description = "Region and VPC on AWS, told to the load balancer controller: with IMDSv2 at one hop it cannot find out. Null on-premises."
  type        = object({ region = string, vpc_id = string })
  default     = null

  validation {
    condition     = (var.cluster.target == "aws") == (var.aws != null)
    error_message = "aws is needed on AWS and is null on-premises."
  }
}

variable "chart_mirror" {
  description = "OCI address that holds every chart, such as oci://oci.hospital.example/bedside/charts. Null: the charts' own repositories."
  type        = string
  default     = null

  validation {
    condition     = var.chart_mirror == null ? true : can(regex("^oci://[a-z0-9.:/_-]+[a-z0-9]$", var.chart_mirror))
    error_message = "chart_mirror begins with oci:// and has no trailing slash."
  }
}

variable "chart_versions" {
  description = "Other chart versions than the pinned ones (versions.md), by release."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for version in values(var.chart_versions) : can(regex("^v?[0-9]+\\.[0-9]+\\.[0-9]+(-[0-9A-Za-z.]+)?$", version))])
    error_message = "chart_versions holds exact versions: no ranges, no latest."
  }
}

variable "gpu" {
  description = "Whether nodes have NVIDIA GPUs: installs the device plugin."
  type        = bool
  default     = false
  nullable    = false
}

variable "vault" {
  description = "Vault that External Secrets reads from on-premises: server, mount path, Kubernetes role. On AWS it is Secrets Manager. Null: none."
  type        = object({ server = string, path = string, role = string })
  default     = null

  validation {
    condition     = var.vault == null ? true : startswith(var.vault.server, "https://")
    error_message = "vault.server must be an https URL."
  }
}

variable "release" {
  description = <<-EOT
    What Flux brings up: the OCI artifact of deploy/k8s below `registry.prefix`, by digest (an exact release) or by a semver range, the
    overlay inside it, and the Secret with the public cosign key that the artifact must be signed with: made here from `public_key`
    (PEM), else yours to bring.
  EOT
  type = object({
    repository    = optional(string, "manifests")
    digest        = optional(string)
    semver        = optional(string)
    path          = string
    cosign_secret = optional(string, "bedside-cosign")
    public_key    = optional(string)
  })
  nullable = false

  validation {
    condition     = var.release.public_key == null ? true : startswith(var.release.public_key, "-----BEGIN PUBLIC KEY-----")
    error_message = "release.public_key is the public half of a cosign key, as PEM."
  }

  validation {
    condition     = (var.release.digest == null) != (var.release.semver == null)
    error_message = "release names either a digest or a semver range."
  }

  validation {
    condition     = var.release.digest == null ? true : can(regex("^sha256:[0-9a-f]{64}$", var.release.digest))
    error_message = "release.digest is sha256: and 64 hexadecimal digits."
  }

  validation {
    condition     = startswith(var.release.path, "./") && !strcontains(var.release.path, "..")
    error_message = "release.path is a folder inside the artifact, such as ./deploy/k8s/overlays/onprem."
  }
}
