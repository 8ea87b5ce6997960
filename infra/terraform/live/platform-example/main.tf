provider "kubernetes" {
  host                   = var.handover.api.endpoint
  cluster_ca_certificate = var.handover.api.ca_certificate
  client_certificate     = var.credentials.client_certificate
  client_key             = var.credentials.client_key

  dynamic "exec" {
    for_each = length(var.credentials.command) > 0 ? [var.credentials.command] : []

    content {
      api_version = "client.authentication.k8s.io/v1"
      command     = exec.value[0]
      args        = slice(exec.value, 1, length(exec.value))
    }
  }
}

provider "helm" {
  kubernetes = {
    host                   = var.handover.api.endpoint
    cluster_ca_certificate = var.handover.api.ca_certificate
    client_certificate     = var.credentials.client_certificate
    client_key             = var.credentials.client_key
    exec = length(var.credentials.command) == 0 ? null : {
      api_version = "client.authentication.k8s.io/v1"
      command     = var.credentials.command[0]
      args        = slice(var.credentials.command, 1, length(var.credentials.command))
    }
  }
}

module "platform" {
  source = "../../modules/platform"

  cluster      = var.handover.cluster
  gateway      = var.handover.gateway
  settings     = var.handover.settings
  registry     = var.handover.registry
  storage      = var.handover.storage
  artifacts    = var.handover.artifacts
  aws          = var.handover.aws
  chart_mirror = var.chart_mirror
  gpu          = var.gpu
  release      = merge(var.release, { public_key = try(file("${path.root}/cosign.pub"), null) })
}
