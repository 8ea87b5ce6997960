# The same values twice, but for `target`: whatever one site module gives out, the other must.
locals {
  values = {
    name        = "ward"
    environment = "prod"
    node_pools = {
      system = { role = "system", instance_types = ["m7i.large"], hosts = [{ name = "s1", address = "10.20.0.11" }] }
      gpu    = { role = "inference", instance_types = ["g6.xlarge"], hosts = [{ name = "g1", address = "10.20.0.21" }], gpu = {} }
    }
    network  = { cidr = "10.20.0.0/16" }
    endpoint = { hostname = "inference.example.org", certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/1" }
    oidc     = { issuer = "https://id.example.org/realms/hospital" }
    registry = { prefix = "oci.example.org/bedside" }
    storage  = { object_endpoint = "https://s3.example.org", object_cidrs = ["10.20.0.20/32"] }
    limits   = { body_bytes = 1000000, request_seconds = 20 }
    k3s = {
      version = "v1.35.8+k3s1"
      source  = "https://files.example.org/k3s"
      sha256  = { k3s = "0000000000000000000000000000000000000000000000000000000000000001" }
    }
  }
}

module "aws" {
  source = "../../modules/aws/site"

  target         = "aws"
  administrators = ["arn:aws:iam::111122223333:role/administrators"]
  name           = local.values.name
  environment    = local.values.environment
  node_pools     = local.values.node_pools
  network        = local.values.network
  endpoint       = local.values.endpoint
  oidc           = local.values.oidc
  registry       = local.values.registry
  storage        = local.values.storage
  limits         = local.values.limits
  k3s            = local.values.k3s
}

module "onprem" {
  source = "../../modules/onprem/site"

  target         = "onprem"
  administrators = ["bedside-administrators"]
  name           = local.values.name
  environment    = local.values.environment
  node_pools     = local.values.node_pools
  network        = local.values.network
  endpoint       = local.values.endpoint
  oidc           = local.values.oidc
  registry       = local.values.registry
  storage        = local.values.storage
  limits         = local.values.limits
  k3s            = local.values.k3s
}
