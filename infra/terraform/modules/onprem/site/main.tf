module "contract" {
  source = "../../contract"

  target             = var.target
  name               = var.name
  environment        = var.environment
  kubernetes_version = var.kubernetes_version
  administrators     = var.administrators
  node_pools         = var.node_pools
  karpenter          = var.karpenter
  network            = var.network
  endpoint           = var.endpoint
  oidc               = var.oidc
  limits             = var.limits
  registry           = var.registry
  storage            = var.storage
  k3s                = var.k3s
  delivery           = var.delivery
  log_retention_days = var.log_retention_days
  tags               = var.tags
}

locals {
  hosts = merge([for name, pool in module.contract.pools : {
    for index, host in pool.hosts : host.name => {
      name    = host.name
      address = host.address
      role    = pool.role == "system" ? (index == 0 ? "init" : "server") : "agent"
      labels  = pool.labels
      taints  = pool.taints
    }
  }]...)
  servers      = [for host in local.hosts : host.address if host.role != "agent"]
  first        = one([for host in local.hosts : host.address if host.role == "init"])
  several      = length(local.servers) > 1
  join_address = local.several ? var.endpoint.api_vip : local.first
  # The store's own administrator makes them, with a rule that deletes uploads.
  buckets = { for kind in ["bundles", "uploads"] : kind => var.storage.object_endpoint == null ? null : "${module.contract.id}-${kind}" }

  registry_host = split("/", coalesce(var.registry.prefix, "unset"))[0]
  registry_path = join("/", slice(split("/", coalesce(var.registry.prefix, "unset")), 1, length(split("/", coalesce(var.registry.prefix, "unset")))))
}

# Values for the other target must not half-build a site.
resource "terraform_data" "target" {
  lifecycle {
    precondition {
      condition     = var.target == "onprem"
      error_message = "These values are for ${var.target}; this module builds onprem."
    }
  }
}

module "pki" {
  source = "../pki"

  name = module.contract.id
}

module "vip" {
  source = "../vip"
  count  = local.several ? 1 : 0

  api_vip = var.endpoint.api_vip
}

module "storage" {
  source = "../storage"

  class  = var.storage.class
  hosts  = length(local.hosts)
  charts = try([for name in keys(var.k3s.sha256) : name if endswith(name, ".tgz")], [])
}

module "render" {
  source   = "../../render"
  for_each = local.hosts

  node = each.value
  cluster = {
    name           = module.contract.id
    join_address   = local.join_address
    tls_sans       = distinct(concat([local.join_address, var.endpoint.hostname], local.servers))
    pod_cidr       = var.network.pod_cidr
    service_cidr   = var.network.service_cidr
    servers        = length(local.servers)
    oidc_issuer    = var.oidc.issuer
    oidc_audience  = var.oidc.audience
    administrators = var.administrators
  }
  tokens               = module.pki.tokens
  authorities          = module.pki.files
  install              = { version = var.k3s.version, source = var.k3s.source, sha256 = var.k3s.sha256 }
  registry             = { host = local.registry_host, path = local.registry_path, ca_certificate = var.registry.ca_certificate }
  manifests            = merge(module.storage.manifests, local.several ? module.vip[0].manifests : {})
  audit_retention_days = var.log_retention_days
}

module "node" {
  source   = "../node"
  for_each = local.hosts

  name      = each.key
  user_data = module.render[each.key].user_data
  meta_data = module.render[each.key].meta_data
  folder    = "${path.root}/seeds"
}
