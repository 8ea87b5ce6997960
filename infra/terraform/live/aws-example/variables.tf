# A site's values; rules and descriptions in full: modules/contract. The target is this root's.

variable "name" {
  description = "Name of the site, the prefix of everything that is created: lower-case letters, digits and dashes, 2 to 20 characters."
  type        = string
  nullable    = false
}

variable "environment" {
  description = "Stage of the site: `dev`, `staging` or `prod`. Only prod protects what holds data against deletion."
  type        = string
  nullable    = false
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes. 1.35 is the floor: bundles are mounted as OCI image volumes."
  type        = string
  default     = "1.35"
  nullable    = false
}

variable "administrators" {
  description = "Who administers the cluster: on AWS the ARNs of IAM roles, on-premises groups of the OIDC issuer."
  type        = list(string)
  nullable    = false
}

variable "node_pools" {
  description = <<-EOT
    Machines by pool. Exactly one pool has the role `system`: on-premises its hosts are the k3s servers, on AWS a managed node group for
    controllers. The others have the role `inference`. On AWS a pool needs `instance_types`, on-premises `hosts`. A pool with `gpu`
    is tainted `nvidia.com/gpu=present:NoSchedule`.
  EOT
  type = map(object({
    role           = string
    min            = optional(number, 1)
    max            = optional(number, 3)
    disk_gib       = optional(number, 100)
    instance_types = optional(list(string), [])
    hosts          = optional(list(object({ name = string, address = string })), [])
    gpu            = optional(object({ count = optional(number, 1) }))
    labels         = optional(map(string), {})
    taints         = optional(list(object({ key = string, value = string, effect = string })), [])
  }))
  nullable = false
}

variable "karpenter" {
  description = "Whether inference nodes are left to Karpenter, which is yours to bring (AWS only); the system pool stays a node group."
  type        = bool
  default     = false
  nullable    = false
}

variable "network" {
  description = <<-EOT
    Addresses. `cidr`: the VPC, or the hospital's network that the hosts are in. `pod_cidr` and `service_cidr`: inside the cluster
    (k3s only; EKS pods have VPC addresses). `allowed_cidrs`: who may reach the Kubernetes API beside the nodes.
    `internet_egress`: false leaves AWS nodes nothing but VPC endpoints, and hosts nothing but `k3s.source`.
  EOT
  type = object({
    cidr            = string
    pod_cidr        = optional(string, "10.42.0.0/16")
    service_cidr    = optional(string, "10.43.0.0/16")
    allowed_cidrs   = optional(list(string), [])
    internet_egress = optional(bool, true)
  })
  nullable = false
}

variable "endpoint" {
  description = <<-EOT
    Where callers reach the service. `hostname`: the DNS name of the certificate. `certificate_arn`: AWS only, of ACM.
    On-premises, where there is more than one server: `vip`, the virtual address of the gateway, and `api_vip`, that of the API server.
  EOT
  type = object({
    hostname        = string
    certificate_arn = optional(string)
    vip             = optional(string)
    api_vip         = optional(string)
  })
  nullable = false
}

variable "oidc" {
  description = <<-EOT
    Who issues the callers' tokens (OpenID Connect). On AWS, API Gateway must reach the issuer's keys from the internet, within 1.5 s; the
    service checks every token again. `audience`: what tokens must hold in `aud`. `scopes`: a token must hold one of them to pass API Gateway; empty leaves scopes to the service.
  EOT
  type = object({
    issuer   = string
    audience = optional(string, "bedside")
    scopes   = optional(list(string), [])
  })
  nullable = false
}

variable "limits" {
  description = <<-EOT
    What one request may take: `body_bytes` and `request_seconds` (on AWS cut to what API Gateway carries: 10 MB, 30 s), and what all
    callers may send together: `requests_per_second` with bursts of `burst`.
  EOT
  type = object({
    body_bytes          = optional(number, 536870912)
    request_seconds     = optional(number, 60)
    requests_per_second = optional(number, 50)
    burst               = optional(number, 100)
  })
  default  = {}
  nullable = false
}

variable "registry" {
  description = <<-EOT
    Where images and bundles come from. `prefix`: host and path, without a scheme; on AWS null means the ECR that is created. On-premises
    every image is pulled through this host. `ca_certificate`: PEM of a private authority on-premises.
  EOT
  type = object({
    prefix         = optional(string)
    ca_certificate = optional(string)
  })
  default  = {}
  nullable = false
}

variable "storage" {
  description = <<-EOT
    Where data lies. `class`: `local` (a disk of the host, one server) or `replicated` (Longhorn: survives a host) on-premises; AWS uses
    encrypted EBS. `object_endpoint`: an S3-compatible store on-premises, and `object_cidrs`, where it is, which pods are let out to; null
    leaves large uploads to the request itself. `upload_days`: days until an upload is deleted, on AWS.
  EOT
  type = object({
    class           = optional(string, "local")
    object_endpoint = optional(string)
    object_cidrs    = optional(list(string), [])
    upload_days     = optional(number, 1)
  })
  default  = {}
  nullable = false
}

variable "k3s" {
  description = <<-EOT
    What the hosts install; on-premises only. `version`: a k3s release. `source`: the folder, as https or file URL, that holds the files.
    `sha256`: checksum by file name; `k3s` is the binary, `*.tar.zst` are image archives, `*.tgz` Helm charts. Nothing without a checksum
    is installed. `air_gapped`: true forbids public sources and demands an image archive.
  EOT
  type = object({
    version    = string
    source     = string
    sha256     = map(string)
    air_gapped = optional(bool, false)
  })
  default = null
}

variable "delivery" {
  description = <<-EOT
    Whose workflows deploy to this site, on AWS; on-premises nothing reaches in, the cluster pulls. `repository`: OWNER/NAME on GitHub.
    `provider_arn`: the account's identity provider for GitHub where there is one. `state` and `permissions_boundary_arn`: together they
    make roles that plan and apply Terraform; every role of the site is then made under the boundary.
  EOT
  type = object({
    repository               = string
    provider_arn             = optional(string)
    state                    = optional(object({ bucket_arn = string, kms_key_arn = string }))
    permissions_boundary_arn = optional(string)
  })
  default = null
}

variable "log_retention_days" {
  description = "Days that access and audit logs are kept. HIPAA asks for six years of audit documentation: 2192 days."
  type        = number
  default     = 2192
  nullable    = false
}

variable "tags" {
  description = "Tags of everything that can carry them, beside Site, Environment and ManagedBy."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "region" {
  description = "AWS region."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region is the name of an AWS region, such as eu-central-1."
  }
}
