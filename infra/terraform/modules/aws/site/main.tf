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

data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  boundary = try(var.delivery.permissions_boundary_arn, null)
  # Named, for an address that is signed for S3's global name is redirected while a bucket is young, and then no longer good.
  store = "https://s3.${data.aws_region.this.region}.${data.aws_partition.this.dns_suffix}"
}

# Values for the other target must not half-build a site.
resource "terraform_data" "target" {
  lifecycle {
    precondition {
      condition     = var.target == "aws"
      error_message = "These values are for ${var.target}; this module builds aws."
    }
  }
}

module "encryption" {
  source = "../encryption"

  name                 = module.contract.id
  deletion_window_days = module.contract.protect ? 30 : 7
}

module "network" {
  source = "../network"

  name                     = module.contract.id
  cidr                     = var.network.cidr
  internet_egress          = var.network.internet_egress
  kms_key_arn              = module.encryption.key_arn
  log_retention_days       = var.log_retention_days
  permissions_boundary_arn = local.boundary
}

module "artifacts" {
  source = "../artifacts"

  name        = module.contract.id
  kms_key_arn = module.encryption.key_arn
  upload_days = var.storage.upload_days
  protect     = module.contract.protect
}

module "cluster" {
  source = "../cluster"

  name                     = module.contract.id
  kubernetes_version       = var.kubernetes_version
  vpc_id                   = module.network.vpc_id
  subnet_ids               = module.network.subnet_ids
  pools                    = module.contract.pools
  karpenter                = var.karpenter
  administrators           = var.administrators
  allowed_cidrs            = var.network.allowed_cidrs
  kms_key_arn              = module.encryption.key_arn
  log_retention_days       = var.log_retention_days
  protect                  = module.contract.protect
  permissions_boundary_arn = local.boundary
}

module "edge" {
  source = "../edge"

  name                   = module.contract.id
  vpc_id                 = module.network.vpc_id
  subnet_ids             = module.network.subnet_ids
  node_security_group_id = module.cluster.node_security_group_id
  hostname               = var.endpoint.hostname
  certificate_arn        = var.endpoint.certificate_arn
  oidc                   = var.oidc
  limits                 = module.contract.limits
  kms_key_arn            = module.encryption.key_arn
  log_retention_days     = var.log_retention_days
  protect                = module.contract.protect
}

module "identity" {
  source = "../identity"

  name                     = module.cluster.name
  bucket_arns              = module.artifacts.bucket_arns
  kms_key_arn              = module.encryption.key_arn
  target_group_arn         = module.edge.target_group_arn
  permissions_boundary_arn = local.boundary
}

module "github" {
  source = "../github"
  count  = var.delivery == null ? 0 : 1

  name         = module.contract.id
  repository   = var.delivery.repository
  environment  = var.environment == "prod" ? "production" : var.environment
  provider_arn = var.delivery.provider_arn
  state = var.delivery.state == null ? null : {
    bucket_arn = var.delivery.state.bucket_arn, kms_key_arn = var.delivery.state.kms_key_arn, prefix = module.contract.id
  }
  permissions_boundary_arn = local.boundary
  repository_arns          = values(module.artifacts.repository_arns)
  bundles_bucket_arn       = module.artifacts.bucket_arns.bundles
  kms_key_arn              = module.encryption.key_arn
  cluster_arn              = "arn:${data.aws_partition.this.partition}:eks:${data.aws_region.this.region}:${data.aws_caller_identity.this.account_id}:cluster/${module.contract.id}"
}
