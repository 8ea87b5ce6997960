variable "name" {
  description = "Prefix of names."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}$", var.name))
    error_message = "name is 2 to 31 lower-case letters, digits and dashes."
  }
}

variable "cidr" {
  description = "Network of the VPC, /16 to /20."
  type        = string
  nullable    = false

  validation {
    condition     = can(cidrnetmask(var.cidr)) && try(tonumber(split("/", var.cidr)[1]) >= 16 && tonumber(split("/", var.cidr)[1]) <= 20, false)
    error_message = "cidr is an IPv4 network between /16 and /20."
  }
}

variable "zones" {
  description = "Number of availability zones."
  type        = number
  default     = 3
  nullable    = false

  validation {
    condition     = contains([2, 3], var.zones)
    error_message = "zones is 2 or 3; EKS asks for two."
  }
}

variable "internet_egress" {
  description = "Whether nodes reach the internet, through NAT. False: VPC endpoints only, and every image must be in ECR."
  type        = bool
  nullable    = false
}

variable "kms_key_arn" {
  description = "ARN of the key that encrypts flow logs."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a KMS key."
  }
}

variable "log_retention_days" {
  description = "Days that flow logs are kept."
  type        = number
  nullable    = false

  validation {
    condition     = var.log_retention_days >= 90
    error_message = "log_retention_days is at least 90."
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
