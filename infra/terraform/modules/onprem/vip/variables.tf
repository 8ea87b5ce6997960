variable "api_vip" {
  description = "Virtual address of the Kubernetes API; moves to another server when one is lost."
  type        = string
  nullable    = false

  validation {
    condition     = can(cidrhost("${var.api_vip}/32", 0))
    error_message = "api_vip must be an IP address."
  }
}

variable "interface" {
  description = "Network interface that announces the addresses; empty: that of the default route."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9.]{0,15}$", var.interface))
    error_message = "interface is the name of a Linux interface, at most 15 characters."
  }
}

variable "image" {
  description = "Image of kube-vip, pulled through the site's registry."
  type        = string
  default     = "ghcr.io/kube-vip/kube-vip:v1.2.4"
  nullable    = false

  validation {
    condition     = can(regex("(:v[0-9]+\\.[0-9]+\\.[0-9]+|@sha256:[0-9a-f]{64})$", var.image))
    error_message = "image must be pinned to a release or a digest."
  }
}
