variable "node" {
  description = "The machine: DNS label, IP address, role (`init`: the first server; `server`; `agent`), labels and taints."
  type = object({
    name    = string
    address = string
    role    = string
    labels  = optional(map(string), {})
    taints  = optional(list(object({ key = string, value = string, effect = string })), [])
  })
  nullable = false

  validation {
    condition     = contains(["init", "server", "agent"], var.node.role)
    error_message = "node.role must be init, server or agent."
  }
}

variable "cluster" {
  description = <<-EOT
    What all machines share: name, the address servers are joined at, names and addresses for the API server's certificate, pod and service
    networks, the number of servers, and for `kubectl` users the OIDC issuer, audience and administrators' groups.
  EOT
  type = object({
    name           = string
    join_address   = string
    tls_sans       = list(string)
    pod_cidr       = string
    service_cidr   = string
    servers        = number
    oidc_issuer    = string
    oidc_audience  = string
    administrators = list(string)
  })
  nullable = false

  validation {
    condition     = var.cluster.servers % 2 == 1
    error_message = "cluster.servers must be odd: etcd needs a majority."
  }

  validation {
    condition     = contains(var.cluster.tls_sans, var.cluster.join_address)
    error_message = "cluster.tls_sans must hold join_address, or joining nodes refuse the certificate."
  }
}

variable "tokens" {
  description = "K10 tokens with the hash of the cluster's authority, so that a joining node knows whom it talks to. Agents hold no server token."
  type        = object({ server = string, agent = string })
  sensitive   = true
  nullable    = false

  validation {
    condition     = can(regex("^K10[0-9a-f]{64}::server:.{32,}$", var.tokens.server)) && can(regex("^K10[0-9a-f]{64}::node:.{32,}$", var.tokens.agent))
    error_message = "tokens must be of the secure form K10HASH::server:SECRET and K10HASH::node:SECRET, each secret at least 32 characters."
  }
}

variable "authorities" {
  description = "Files of the cluster's certificate authorities, by name below /var/lib/rancher/k3s/server/tls; only the first server gets them."
  type        = map(string)
  default     = {}
  sensitive   = true
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.authorities) : can(regex("^(etcd/)?[a-z-]+\\.(crt|key)$", name))])
    error_message = "authorities maps names such as server-ca.crt and etcd/peer-ca.key to PEM."
  }
}

variable "install" {
  description = "What is installed: release, folder it comes from (https or file URL), SHA-256 by file name."
  type        = object({ version = string, source = string, sha256 = map(string) })
  nullable    = false

  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.install.sha256["k3s"]))
    error_message = "install.sha256 must hold the checksum of the k3s binary."
  }
}

variable "registry" {
  description = "Host (and port) of the registry that every image is pulled through, the path below it, and the PEM of its authority where it is private."
  type        = object({ host = string, path = optional(string, ""), ca_certificate = optional(string) })
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9.-]+(:[0-9]+)?$", var.registry.host))
    error_message = "registry.host is a host with an optional port."
  }
}

variable "manifests" {
  description = "Kubernetes manifests that servers apply by themselves (kube-vip, storage …), YAML by file name."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name, text in var.manifests : can(regex("^[a-z0-9-]+\\.yaml$", name)) && !strcontains(name, "/")])
    error_message = "manifests maps names such as kube-vip.yaml to YAML."
  }
}

variable "audit_retention_days" {
  description = "Days that the API server keeps audit logs."
  type        = number
  default     = 2192
  nullable    = false

  validation {
    condition     = var.audit_retention_days >= 90
    error_message = "audit_retention_days is at least 90."
  }
}
