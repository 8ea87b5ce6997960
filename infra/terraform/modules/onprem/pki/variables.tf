variable "name" {
  description = "Name of the cluster, in the subjects of its authorities."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,40}$", var.name))
    error_message = "name is 2 to 41 lower-case letters, digits and dashes."
  }
}

variable "administrator_hours" {
  description = "Validity of the administrator's certificate, in hours. It cannot be revoked, so it is short: people use the OIDC issuer."
  type        = number
  default     = 720
  nullable    = false

  validation {
    condition     = var.administrator_hours >= 1 && var.administrator_hours <= 2160
    error_message = "administrator_hours is between 1 and 2160 (90 days)."
  }
}
