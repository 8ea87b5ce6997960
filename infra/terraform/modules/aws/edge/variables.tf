variable "name" {
  description = "Prefix of names; a load balancer's is at most 32 characters long."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,27}$", var.name))
    error_message = "name is 2 to 28 lower-case letters, digits and dashes."
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
  description = "Ids of the private subnets of load balancer and VPC link, in at least two zones."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "subnet_ids must name at least two subnets."
  }
}

variable "node_security_group_id" {
  description = "Id of the security group of nodes and pods; the load balancer is let in at the gateway's port."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.node_security_group_id) > 0
    error_message = "node_security_group_id must not be empty."
  }
}

variable "gateway_port" {
  description = "Port that the gateway's pods listen on. Envoy Gateway moves 443 to 10443, which needs no privilege."
  type        = number
  default     = 10443
  nullable    = false

  validation {
    condition     = var.gateway_port > 1023 && var.gateway_port < 65536
    error_message = "gateway_port is between 1024 and 65535."
  }
}

variable "hostname" {
  description = "DNS name that callers use; the certificate's."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,63}$", var.hostname))
    error_message = "hostname must be a fully qualified, lower-case DNS name."
  }
}

variable "certificate_arn" {
  description = "ARN of the ACM certificate for hostname."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:acm:", var.certificate_arn))
    error_message = "certificate_arn must be the ARN of an ACM certificate."
  }
}

variable "oidc" {
  description = "Issuer, audience and scopes that the authorizer checks."
  type        = object({ issuer = string, audience = string, scopes = list(string) })
  nullable    = false

  validation {
    condition     = startswith(var.oidc.issuer, "https://") && var.oidc.audience != ""
    error_message = "oidc needs an https issuer and an audience."
  }
}

variable "public_paths" {
  description = "Paths that need no token: /livez and /readyz at most, for a monitor that has none. Empty: every route needs one."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = length(setsubtract(var.public_paths, ["/livez", "/readyz"])) == 0
    error_message = "public_paths holds /livez and /readyz at most: nothing else is without a token."
  }
}

variable "limits" {
  description = "Seconds that one request may take (API Gateway: 30 at most), and requests per second with bursts over all callers."
  type        = object({ request_seconds = number, requests_per_second = number, burst = number })
  nullable    = false

  validation {
    condition     = var.limits.request_seconds >= 1 && var.limits.request_seconds <= 30
    error_message = "limits.request_seconds is between 1 and 30: API Gateway's HTTP APIs wait no longer."
  }

  validation {
    condition     = var.limits.requests_per_second >= 1 && var.limits.burst >= var.limits.requests_per_second
    error_message = "limits: requests_per_second is at least 1, and burst no less than it."
  }
}

variable "kms_key_arn" {
  description = "ARN of the key that encrypts access logs."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[a-z-]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a KMS key."
  }
}

variable "log_retention_days" {
  description = "Days that access logs are kept."
  type        = number
  nullable    = false

  validation {
    condition     = var.log_retention_days >= 90
    error_message = "log_retention_days is at least 90."
  }
}

variable "protect" {
  description = "Whether the load balancer refuses to be deleted."
  type        = bool
  nullable    = false
}
