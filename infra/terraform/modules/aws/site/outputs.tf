# The same outputs, with the same attributes, as modules/onprem/site (tests/parity).

output "cluster" {
  description = "Where the Kubernetes API is and whom to trust for it."
  value = {
    name           = module.cluster.name
    target         = var.target
    version        = var.kubernetes_version
    endpoint       = module.cluster.endpoint
    ca_certificate = module.cluster.ca_certificate
  }
}

output "credentials" {
  description = "How Terraform and kubectl authenticate: a client certificate, or a command that prints a token."
  value = {
    client_certificate = null
    client_key         = null
    command            = tolist(["aws", "eks", "get-token", "--cluster-name", module.cluster.name, "--region", data.aws_region.this.region])
  }
  sensitive = true
}

output "gateway" {
  description = "Where callers reach the service, and how the edge finds the gateway inside the cluster."
  value = {
    base_url         = "https://${var.endpoint.hostname}"
    hostname         = var.endpoint.hostname
    address          = module.edge.domain.target
    target_group_arn = module.edge.target_group_arn
  }
}

output "limits" {
  description = "What one request may take here (modules/contract)."
  value       = module.contract.limits
}

output "settings" {
  description = "Environment of the service (modules/contract)."
  value = merge(module.contract.settings, {
    BEDSIDE_REFERENCES__BUCKETS = jsonencode({ uploads = { url = "s3://${module.artifacts.buckets["uploads"]}", endpoint = local.store } })
  })
}

output "identity" {
  description = "How pods get at the object store: IAM roles through Pod Identity, or secrets that External Secrets brings."
  value = {
    mode              = "pod-identity"
    service_role_arn  = module.identity.role_arns["service"]
    secrets_role_arn  = module.identity.role_arns["secrets"]
    balancer_role_arn = module.identity.role_arns["balancer"]
  }
}

output "network" {
  description = "Id of the VPC (AWS only)."
  value       = { vpc_id = module.network.vpc_id }
}

output "registry" {
  description = "Where images and bundles are pulled from."
  value       = { prefix = coalesce(var.registry.prefix, module.artifacts.registry_prefix) }
}

output "artifacts" {
  description = "Buckets of bundles and uploads (null: none), the store's endpoint and where pods reach it."
  value = {
    endpoint       = local.store
    cidrs          = tolist(module.network.s3_cidrs)
    bundles_bucket = module.artifacts.buckets["bundles"]
    uploads_bucket = module.artifacts.buckets["uploads"]
    kms_key_arn    = module.encryption.key_arn
  }
}

output "storage" {
  description = "StorageClass of volumes that must outlive a pod."
  value       = { class_name = "gp3-encrypted" }
}

output "delivery" {
  description = "How a release gets here: pushed by a workflow that takes a role on, or pulled by the cluster."
  value = {
    mode            = var.delivery == null ? "pull" : "push"
    deploy_role_arn = try(module.github[0].role_arns["deploy"], null)
    plan_role_arn   = try(module.github[0].role_arns["plan"], null)
    apply_role_arn  = try(module.github[0].role_arns["apply"], null)
  }
}

output "nodes" {
  description = "What a site's machines are made from: the seeds' folders, or the node groups' names, by pool or host."
  value       = module.cluster.node_groups
}
