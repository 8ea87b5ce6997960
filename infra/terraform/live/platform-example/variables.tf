# `handover` and `credentials` are outputs of the site's root, on either target.

variable "handover" {
  description = "What the site gives out: terraform -chdir=../aws-example output -json handover."
  type = object({
    cluster   = object({ name = string, target = string, version = string })
    gateway   = object({ hostname = string, address = optional(string), target_group_arn = optional(string) })
    settings  = map(string)
    registry  = object({ prefix = string })
    storage   = object({ class_name = string })
    artifacts = object({ kms_key_arn = optional(string), endpoint = optional(string), cidrs = optional(list(string), []) })
    api       = object({ endpoint = string, ca_certificate = string })
    aws       = optional(object({ region = string, vpc_id = string }))
  })
  nullable = false

  validation {
    condition     = startswith(var.handover.api.endpoint, "https://")
    error_message = "handover.api.endpoint must be an https URL."
  }
}

variable "credentials" {
  description = "How to authenticate: terraform -chdir=../aws-example output -json credentials."
  type        = object({ client_certificate = optional(string), client_key = optional(string), command = optional(list(string), []) })
  sensitive   = true
  nullable    = false

  validation {
    condition     = length(var.credentials.command) > 0 || var.credentials.client_certificate != null
    error_message = "credentials hold a command or a client certificate."
  }
}

variable "chart_mirror" {
  description = "OCI address that holds every chart; needed where the site has no way to the internet."
  type        = string
  default     = null

  validation {
    condition     = var.chart_mirror == null ? true : startswith(var.chart_mirror, "oci://")
    error_message = "chart_mirror begins with oci://."
  }
}

variable "gpu" {
  description = "Whether nodes have NVIDIA GPUs."
  type        = bool
  default     = false
  nullable    = false
}

variable "release" {
  description = "What Flux brings up (modules/platform)."
  type = object({
    repository    = optional(string, "manifests")
    digest        = optional(string)
    semver        = optional(string)
    path          = string
    cosign_secret = optional(string, "bedside-cosign")
  })
  nullable = false

  validation {
    condition     = startswith(var.release.path, "./")
    error_message = "release.path is a folder inside the artifact."
  }
}
