variable "name" {
  description = "Name of the cluster, the prefix of names."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}$", var.name))
    error_message = "name is 2 to 31 lower-case letters, digits and dashes."
  }
}

variable "bucket_arns" {
  description = "ARNs of the buckets, by kind: bundles, uploads."
  type        = object({ bundles = string, uploads = string })
  nullable    = false

  validation {
    condition     = alltrue([for arn in values(var.bucket_arns) : can(regex("^arn:[a-z-]+:s3:::[a-z0-9.-]+$", arn))])
    error_message = "bucket_arns must be ARNs of buckets, without a path."
  }
}

variable "kms_key_arn" {
  description = "ARN of the site's key."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a KMS key."
  }
}

variable "target_group_arn" {
  description = "ARN of the target group that the load balancer controller may fill."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:elasticloadbalancing:.*:targetgroup/", var.target_group_arn))
    error_message = "target_group_arn must be the ARN of a target group."
  }
}

variable "service_accounts" {
  description = "Namespace and service account, by role: the service, External Secrets, the load balancer controller."
  type        = map(object({ namespace = string, name = string }))
  default = {
    service  = { namespace = "bedside", name = "bedside" }
    secrets  = { namespace = "external-secrets", name = "external-secrets" }
    balancer = { namespace = "aws-load-balancer", name = "aws-load-balancer-controller" }
  }
  nullable = false

  validation {
    condition     = toset(keys(var.service_accounts)) == toset(["service", "secrets", "balancer"])
    error_message = "service_accounts has the keys service, secrets and balancer."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of the policy that bounds every role made here. Null: none."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null ? true : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:policy/", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of a policy."
  }
}
