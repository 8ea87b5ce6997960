# The one interface: this file is the same, byte for byte, in modules/contract, modules/aws/site and modules/onprem/site
# (validate.sh compares them). A value that only one target needs is optional, and required by validation for that target.

variable "target" {
  description = "Where the site runs: `aws` (EKS behind API Gateway) or `onprem` (k3s on the hospital's own machines)."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["aws", "onprem"], var.target)
    error_message = "target must be aws or onprem."
  }
}

variable "name" {
  description = "Name of the site, the prefix of everything that is created: lower-case letters, digits and dashes, 2 to 20 characters."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "name must be 2 to 20 lower-case letters, digits and dashes, begin with a letter and not end with a dash."
  }
}

variable "environment" {
  description = "Stage of the site: `dev`, `staging` or `prod`. Only prod protects what holds data against deletion."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "environment must be dev, staging or prod."
  }
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes. 1.35 is the floor: bundles are mounted as OCI image volumes."
  type        = string
  default     = "1.35"
  nullable    = false

  validation {
    condition     = can(regex("^1\\.(3[5-9]|[4-9][0-9])$", var.kubernetes_version))
    error_message = "kubernetes_version must be a minor version from 1.35 on, such as 1.35 (image volumes, which carry the bundles, need it)."
  }
}

variable "administrators" {
  description = "Who administers the cluster: on AWS the ARNs of IAM roles, on-premises groups of the OIDC issuer."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.administrators) > 0
    error_message = "administrators must name at least one: nobody else gets in, not even who created the cluster."
  }

  validation {
    condition     = var.target != "aws" || alltrue([for arn in var.administrators : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/", arn))])
    error_message = "administrators must be ARNs of IAM roles on AWS."
  }
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

  validation {
    condition     = length([for pool in var.node_pools : pool if pool.role == "system"]) == 1
    error_message = "node_pools must hold exactly one pool with the role system."
  }

  validation {
    condition     = alltrue([for pool in var.node_pools : contains(["system", "inference"], pool.role)])
    error_message = "node_pools: a role is system or inference."
  }

  validation {
    condition     = alltrue([for name, pool in var.node_pools : can(regex("^[a-z][a-z0-9-]{0,14}$", name))])
    error_message = "node_pools: a pool's name is 1 to 15 lower-case letters, digits and dashes."
  }

  validation {
    condition     = alltrue([for pool in var.node_pools : pool.min >= 0 && pool.max >= 1 && pool.min <= pool.max && (pool.role != "system" || pool.min >= 1)])
    error_message = "node_pools: 0 <= min <= max, max >= 1, and the system pool has at least one machine."
  }

  validation {
    condition     = alltrue([for pool in var.node_pools : pool.disk_gib >= 30])
    error_message = "node_pools: disk_gib is at least 30; the runtime image and one bundle need that much."
  }

  validation {
    condition     = var.target != "aws" || alltrue([for pool in var.node_pools : length(pool.instance_types) > 0])
    error_message = "node_pools: on AWS every pool names its instance_types."
  }

  validation {
    condition     = var.target != "onprem" || alltrue([for pool in var.node_pools : length(pool.hosts) > 0])
    error_message = "node_pools: on-premises every pool names its hosts."
  }

  validation {
    condition     = var.target != "onprem" || alltrue([for pool in var.node_pools : pool.role != "system" || length(pool.hosts) % 2 == 1])
    error_message = "node_pools: the system pool has an odd number of hosts on-premises (1, 3, 5): etcd needs a majority."
  }

  validation {
    condition     = alltrue(flatten([for pool in var.node_pools : [for host in pool.hosts : can(regex("^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$", host.name))]]))
    error_message = "node_pools: a host's name is a DNS label (RFC 1123) that begins with a letter."
  }

  validation {
    condition     = alltrue(flatten([for pool in var.node_pools : [for host in pool.hosts : can(cidrhost("${host.address}/32", 0))]]))
    error_message = "node_pools: a host's address is an IP address without a prefix length."
  }

  validation {
    condition = length(flatten([for pool in var.node_pools : pool.hosts[*].name])) == length(distinct(flatten([for pool in var.node_pools : pool.hosts[*].name]))) && (
    length(flatten([for pool in var.node_pools : pool.hosts[*].address])) == length(distinct(flatten([for pool in var.node_pools : pool.hosts[*].address]))))
    error_message = "node_pools: no two hosts share a name or an address."
  }

  validation {
    condition     = alltrue([for pool in var.node_pools : pool.gpu == null ? true : pool.role == "inference" && pool.gpu.count >= 1])
    error_message = "node_pools: gpu belongs to an inference pool and counts at least 1."
  }

  validation {
    condition     = alltrue(flatten([for pool in var.node_pools : [for taint in pool.taints : contains(["NoSchedule", "PreferNoSchedule", "NoExecute"], taint.effect)]]))
    error_message = "node_pools: a taint's effect is NoSchedule, PreferNoSchedule or NoExecute."
  }
}

variable "karpenter" {
  description = "Whether inference nodes are left to Karpenter, which is yours to bring (AWS only); the system pool stays a node group."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.karpenter || var.target == "aws"
    error_message = "karpenter starts machines at AWS; on-premises they are listed in node_pools."
  }
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

  validation {
    condition     = alltrue([for cidr in [var.network.cidr, var.network.pod_cidr, var.network.service_cidr] : can(cidrnetmask(cidr))])
    error_message = "network: cidr, pod_cidr and service_cidr are IPv4 networks in CIDR form."
  }

  validation {
    condition     = alltrue([for cidr in var.network.allowed_cidrs : can(cidrnetmask(cidr)) && !endswith(cidr, "/0")])
    error_message = "network.allowed_cidrs holds IPv4 networks in CIDR form, never the whole internet."
  }

  validation {
    condition     = var.target != "aws" || try(tonumber(split("/", var.network.cidr)[1]) >= 16 && tonumber(split("/", var.network.cidr)[1]) <= 20, false)
    error_message = "network.cidr is between /16 and /20 on AWS: three zones of pods need the room."
  }
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

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,63}$", var.endpoint.hostname))
    error_message = "endpoint.hostname must be a fully qualified, lower-case DNS name."
  }

  validation {
    condition     = var.target != "aws" || can(regex("^arn:[a-z-]+:acm:[a-z0-9-]+:[0-9]{12}:certificate/", var.endpoint.certificate_arn))
    error_message = "endpoint.certificate_arn must be the ARN of an ACM certificate on AWS."
  }

  validation {
    condition     = alltrue([for vip in [var.endpoint.vip, var.endpoint.api_vip] : vip == null ? true : can(cidrhost("${vip}/32", 0))])
    error_message = "endpoint.vip and endpoint.api_vip must be IP addresses."
  }

  validation {
    condition = var.target != "onprem" || alltrue([for pool in var.node_pools : pool.role != "system" || length(pool.hosts) == 1]) || (
    var.endpoint.vip != null && var.endpoint.api_vip != null)
    error_message = "endpoint.vip and endpoint.api_vip are needed on-premises as soon as there is more than one server."
  }

  validation {
    condition     = var.endpoint.vip == null || var.endpoint.vip != var.endpoint.api_vip
    error_message = "endpoint.vip and endpoint.api_vip must differ: two leaders would announce one address."
  }
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

  validation {
    condition     = can(regex("^https://[^/?#]+[^?#]*$", var.oidc.issuer))
    error_message = "oidc.issuer must be an https URL without query or fragment (OpenID Connect Discovery 1.0 §3)."
  }

  validation {
    condition     = var.oidc.audience != ""
    error_message = "oidc.audience must not be empty: any token of the issuer would do."
  }
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

  validation {
    condition     = var.limits.body_bytes >= 1024 && var.limits.request_seconds >= 2 && var.limits.request_seconds <= 60
    error_message = "limits: body_bytes is at least 1024; request_seconds is between 2 and 60, the drain_seconds of deploy/k8s (longer work is a job)."
  }

  validation {
    condition     = var.limits.requests_per_second >= 1 && var.limits.burst >= var.limits.requests_per_second
    error_message = "limits: requests_per_second is at least 1, and burst no less than it."
  }
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

  validation {
    condition     = var.registry.prefix == null ? true : can(regex("^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._/-]*[a-z0-9])?$", var.registry.prefix))
    error_message = "registry.prefix is a host with an optional port and path, such as oci.example.org/bedside: no scheme, no trailing slash."
  }

  validation {
    condition     = var.target != "onprem" || var.registry.prefix != null
    error_message = "registry.prefix is needed on-premises."
  }

  validation {
    condition     = var.registry.ca_certificate == null ? true : startswith(var.registry.ca_certificate, "-----BEGIN CERTIFICATE-----")
    error_message = "registry.ca_certificate must be a PEM certificate."
  }
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

  validation {
    condition     = contains(["local", "replicated"], var.storage.class)
    error_message = "storage.class must be local or replicated."
  }

  validation {
    condition     = var.storage.object_endpoint == null ? true : can(regex("^https://[^/?#]+$", var.storage.object_endpoint))
    error_message = "storage.object_endpoint must be an https URL without a path."
  }

  validation {
    condition     = (var.storage.object_endpoint == null) == (length(var.storage.object_cidrs) == 0)
    error_message = "storage.object_endpoint and storage.object_cidrs come together: pods are let out to these addresses and no others."
  }

  validation {
    condition     = alltrue([for cidr in var.storage.object_cidrs : can(cidrhost(cidr, 0)) && !endswith(cidr, "/0")])
    error_message = "storage.object_cidrs are address ranges, such as 10.30.0.20/32; not the whole world."
  }

  validation {
    condition     = var.storage.upload_days >= 1 && var.storage.upload_days <= 30
    error_message = "storage.upload_days is between 1 and 30: uploads hold patients' images."
  }
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

  validation {
    condition     = var.target != "onprem" || var.k3s != null
    error_message = "k3s is needed on-premises."
  }

  validation {
    condition     = var.k3s == null ? true : can(regex("^v1\\.[0-9]+\\.[0-9]+\\+k3s[0-9]+$", var.k3s.version))
    error_message = "k3s.version must be the name of a release, such as v1.35.8+k3s1."
  }

  validation {
    condition     = var.k3s == null ? true : startswith(var.k3s.version, "v${var.kubernetes_version}.")
    error_message = "k3s.version must be a release of kubernetes_version."
  }

  validation {
    condition     = var.k3s == null ? true : can(regex("^(https|file)://[^?#]*[^/?#]$", var.k3s.source))
    error_message = "k3s.source must be an https or file URL without a trailing slash."
  }

  validation {
    condition     = var.k3s == null ? true : contains(keys(var.k3s.sha256), "k3s")
    error_message = "k3s.sha256 must hold the checksum of the binary, by the name k3s."
  }

  validation {
    condition     = var.k3s == null ? true : alltrue([for name, sum in var.k3s.sha256 : can(regex("^(k3s|[A-Za-z0-9][A-Za-z0-9._-]*\\.(tar\\.zst|tgz))$", name)) && can(regex("^[0-9a-f]{64}$", sum))])
    error_message = "k3s.sha256 maps k3s, *.tar.zst and *.tgz to 64 lower-case hexadecimal digits."
  }

  validation {
    condition     = var.k3s == null ? true : !var.k3s.air_gapped || anytrue([for name in keys(var.k3s.sha256) : endswith(name, ".tar.zst")])
    error_message = "k3s.sha256 must hold an image archive (*.tar.zst) when air_gapped."
  }

  validation {
    condition     = var.k3s == null ? true : !var.k3s.air_gapped || !can(regex("^https://([^/]+\\.)?(github|githubusercontent|rancher)\\.(com|io)/", "${var.k3s.source}/"))
    error_message = "k3s.source must be inside the site when air_gapped."
  }
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

  validation {
    condition     = var.delivery == null ? true : can(regex("^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$", var.delivery.repository))
    error_message = "delivery.repository must be OWNER/NAME: a wildcard would let other repositories in."
  }

  validation {
    condition     = var.delivery == null ? true : (var.delivery.state == null) == (var.delivery.permissions_boundary_arn == null)
    error_message = "delivery.state and delivery.permissions_boundary_arn go together: whoever makes roles must not make one mightier than itself."
  }
}

variable "log_retention_days" {
  description = "Days that access and audit logs are kept. HIPAA asks for six years of audit documentation: 2192 days."
  type        = number
  default     = 2192
  nullable    = false

  validation {
    condition     = contains([90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a period that CloudWatch Logs knows, from 90 on: 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653."
  }
}

variable "tags" {
  description = "Tags of everything that can carry them, beside Site, Environment and ManagedBy."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.tags) : !startswith(lower(key), "aws:") && !contains(["Site", "Environment", "ManagedBy"], key)])
    error_message = "tags must not begin with aws: nor set Site, Environment or ManagedBy."
  }
}
