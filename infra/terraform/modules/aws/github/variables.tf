variable "name" {
  description = "Prefix of names."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}$", var.name))
    error_message = "name is 2 to 31 lower-case letters, digits and dashes."
  }
}

variable "repository" {
  description = "OWNER/NAME of the repository whose workflows take the roles on."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$", var.repository))
    error_message = "repository must be OWNER/NAME, without wildcards."
  }
}

variable "environment" {
  description = "GitHub environment whose protection rules (reviewers, branches) stand before deploying; before applying stand those of infra-apply."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]*$", var.environment))
    error_message = "environment is lower-case letters, digits and dashes."
  }
}

variable "provider_arn" {
  description = "ARN of the account's identity provider for GitHub, where there is one; an account can have only one. Null: it is created."
  type        = string
  default     = null

  validation {
    condition     = var.provider_arn == null ? true : endswith(var.provider_arn, "oidc-provider/token.actions.githubusercontent.com")
    error_message = "provider_arn must be the provider for token.actions.githubusercontent.com."
  }
}

variable "state" {
  description = "Bucket and key prefix of Terraform's state, and the key that encrypts it. Null: no roles to plan or to apply."
  type        = object({ bucket_arn = string, prefix = string, kms_key_arn = string })
  default     = null

  validation {
    condition     = var.state == null ? true : can(regex("^arn:[a-z-]+:s3:::[a-z0-9.-]+$", var.state.bucket_arn)) && length(var.state.prefix) > 0
    error_message = "state needs the ARN of a bucket and a prefix: without it, one site could read another's state."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of the policy that bounds the role to apply, and every role that it makes. Needed with state."
  type        = string
  default     = null

  validation {
    condition     = (var.state == null) == (var.permissions_boundary_arn == null)
    error_message = "permissions_boundary_arn and state go together: whoever makes roles must not make one mightier than itself."
  }
}

variable "repository_arns" {
  description = "ARNs of the ECR repositories that releases are pushed to."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.repository_arns) > 0 && alltrue([for arn in var.repository_arns : can(regex("^arn:[a-z-]+:ecr:.*:repository/", arn))])
    error_message = "repository_arns must name at least one ECR repository by its ARN."
  }
}

variable "bundles_bucket_arn" {
  description = "ARN of the bucket that bundles are put into."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:s3:::[a-z0-9.-]+$", var.bundles_bucket_arn))
    error_message = "bundles_bucket_arn must be the ARN of a bucket."
  }
}

variable "kms_key_arn" {
  description = "ARN of the key that encrypts that bucket."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a KMS key."
  }
}

variable "cluster_arn" {
  description = "ARN of the EKS cluster that workflows look up."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:eks:.*:cluster/", var.cluster_arn))
    error_message = "cluster_arn must be the ARN of an EKS cluster."
  }
}
