variable "name" {
  description = "Prefix of names; buckets also carry the account's number, since their names are global."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}$", var.name))
    error_message = "name is 2 to 31 lower-case letters, digits and dashes."
  }
}

variable "kms_key_arn" {
  description = "ARN of the key that encrypts buckets and images."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a KMS key."
  }
}

variable "upload_days" {
  description = "Days until an upload is deleted."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.upload_days >= 1 && var.upload_days <= 30
    error_message = "upload_days is between 1 and 30: uploads hold patients' images."
  }
}

variable "repositories" {
  description = "ECR repositories below the prefix: the runtime image, bundles as OCI artifacts, and what is mirrored."
  type        = list(string)
  default     = ["runtime", "bundles", "manifests"]
  nullable    = false

  validation {
    condition     = length(var.repositories) > 0 && alltrue([for name in var.repositories : can(regex("^[a-z0-9][a-z0-9._/-]*$", name))])
    error_message = "repositories must name at least one, in lower case."
  }
}

variable "protect" {
  description = "Whether buckets and repositories that are not empty refuse to be destroyed."
  type        = bool
  nullable    = false
}
