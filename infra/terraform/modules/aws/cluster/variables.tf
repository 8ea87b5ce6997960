variable "name" {
  description = "Name of the cluster."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}$", var.name))
    error_message = "name is 2 to 31 lower-case letters, digits and dashes."
  }
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.kubernetes_version))
    error_message = "kubernetes_version is a minor version, such as 1.35."
  }
}

variable "vpc_id" {
  description = "Id of the VPC."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.vpc_id) > 0
    error_message = "vpc_id must not be empty."
  }
}

variable "subnet_ids" {
  description = "Ids of the private subnets, in at least two zones."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "subnet_ids must name at least two subnets."
  }
}

variable "pools" {
  description = "Node pools with labels and taints, as modules/contract gives them out."
  type = map(object({
    role           = string
    min            = number
    max            = number
    disk_gib       = number
    instance_types = list(string)
    gpu_count      = number
    labels         = map(string)
    taints         = list(object({ key = string, value = string, effect = string }))
  }))
  nullable = false

  validation {
    condition     = anytrue([for pool in var.pools : pool.role == "system" && length(pool.taints) == 0])
    error_message = "pools must hold a system pool without taints: DNS and controllers run there."
  }
}

variable "administrators" {
  description = "ARNs of the IAM roles that administer the cluster."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.administrators) > 0
    error_message = "administrators must name at least one: nobody else gets in."
  }
}

variable "allowed_cidrs" {
  description = "Networks that reach the private API beside the nodes: VPN, Direct Connect, the runners of workflows."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for cidr in var.allowed_cidrs : can(cidrnetmask(cidr)) && !endswith(cidr, "/0")])
    error_message = "allowed_cidrs holds IPv4 networks, never the whole internet."
  }
}

variable "kms_key_arn" {
  description = "ARN of the key that encrypts Kubernetes secrets, nodes' disks and logs."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a KMS key."
  }
}

variable "log_retention_days" {
  description = "Days that the control plane's logs are kept, audit included."
  type        = number
  nullable    = false

  validation {
    condition     = var.log_retention_days >= 90
    error_message = "log_retention_days is at least 90."
  }
}

variable "protect" {
  description = "Whether the cluster refuses to be deleted."
  type        = bool
  nullable    = false
}

variable "karpenter" {
  description = "Whether inference nodes are left to Karpenter, which is yours to bring; then only the system pool is a node group."
  type        = bool
  default     = false
  nullable    = false
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
