provider "elasticstack" {
  elasticsearch {
    endpoints = var.elasticsearch
  }
  kibana {
    endpoints = [var.kibana]
  }
}

module "content" {
  source = "../../modules/elastic-content"

  namespace  = var.namespace
  dashboards = var.dashboards
}
