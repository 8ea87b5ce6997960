variable "class" {
  description = "`local`: k3s's own provisioner, a folder on one host's disk. `replicated`: Longhorn, which survives the loss of a host."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["local", "replicated"], var.class)
    error_message = "class must be local or replicated."
  }
}

variable "hosts" {
  description = "Number of hosts that can hold replicas."
  type        = number
  nullable    = false

  validation {
    condition     = var.hosts >= (var.class == "replicated" ? 3 : 1)
    error_message = "hosts must be at least 3 for replicated storage, and 1 for local."
  }
}

variable "charts" {
  description = "Names of the chart archives that servers hold; one must be longhorn-VERSION.tgz for replicated storage."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = var.class != "replicated" || length([for name in var.charts : name if can(regex("^longhorn-[0-9.]+\\.tgz$", name))]) == 1
    error_message = "charts must hold exactly one longhorn-VERSION.tgz for replicated storage (k3s.sha256)."
  }
}
