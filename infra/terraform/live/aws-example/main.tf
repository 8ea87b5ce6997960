provider "aws" {
  region = var.region

  default_tags {
    tags = merge(var.tags, { Site = var.name, Environment = var.environment, ManagedBy = "terraform" })
  }
}

module "site" {
  source = "../../modules/aws/site"

  target             = "aws"
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
