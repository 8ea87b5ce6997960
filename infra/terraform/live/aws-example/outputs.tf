output "handover" {
  description = "What the platform is built on, for live/platform-example: terraform output -json handover."
  value = {
    cluster   = { name = module.site.cluster.name, target = module.site.cluster.target, version = module.site.cluster.version }
    gateway   = { hostname = module.site.gateway.hostname, address = module.site.gateway.address, target_group_arn = module.site.gateway.target_group_arn }
    settings  = module.site.settings
    registry  = module.site.registry
    storage   = module.site.storage
    artifacts = { kms_key_arn = module.site.artifacts.kms_key_arn, endpoint = module.site.artifacts.endpoint, cidrs = module.site.artifacts.cidrs }
    api       = { endpoint = module.site.cluster.endpoint, ca_certificate = module.site.cluster.ca_certificate }
    aws       = { region = var.region, vpc_id = module.site.network.vpc_id }
  }
}

output "credentials" {
  description = "How Terraform and kubectl authenticate at the Kubernetes API."
  value       = module.site.credentials
  sensitive   = true
}

output "site" {
  description = "Everything else that a site gives out."
  value = {
    base_url  = module.site.gateway.base_url
    limits    = module.site.limits
    artifacts = module.site.artifacts
    delivery  = module.site.delivery
    identity  = module.site.identity
    nodes     = module.site.nodes
  }
}
