# The same outputs, with the same attributes, as modules/aws/site (tests/parity).

output "cluster" {
  description = "Where the Kubernetes API is and whom to trust for it."
  value = {
    name           = module.contract.id
    target         = var.target
    version        = var.kubernetes_version
    endpoint       = "https://${local.join_address}:6443"
    ca_certificate = module.pki.ca_certificate
  }
}

output "credentials" {
  description = "How Terraform and kubectl authenticate: a client certificate, or a command that prints a token."
  value = {
    client_certificate = module.pki.administrator.certificate
    client_key         = module.pki.administrator.key
    command            = tolist([])
  }
  sensitive = true
}

output "gateway" {
  description = "Where callers reach the service, and how the edge finds the gateway inside the cluster."
  value = {
    base_url         = "https://${var.endpoint.hostname}"
    hostname         = var.endpoint.hostname
    address          = var.endpoint.vip
    target_group_arn = null
  }
}

output "limits" {
  description = "What one request may take here (modules/contract)."
  value       = module.contract.limits
}

output "settings" {
  description = "Environment of the service (modules/contract)."
  value = merge(module.contract.settings, var.storage.object_endpoint == null ? {} : {
    BEDSIDE_REFERENCES__BUCKETS = jsonencode({ uploads = { url = "s3://${local.buckets.uploads}", endpoint = var.storage.object_endpoint } })
  })
}

output "identity" {
  description = "How pods get at the object store: IAM roles through Pod Identity, or secrets that External Secrets brings."
  value = {
    mode              = "external-secrets"
    service_role_arn  = null
    secrets_role_arn  = null
    balancer_role_arn = null
  }
}

output "network" {
  description = "Id of the VPC (AWS only)."
  value       = { vpc_id = null }
}

output "registry" {
  description = "Where images and bundles are pulled from."
  value       = { prefix = var.registry.prefix }
}

output "artifacts" {
  description = "Buckets of bundles and uploads (null: none), the store's endpoint and where pods reach it."
  value = {
    endpoint       = var.storage.object_endpoint
    cidrs          = var.storage.object_cidrs
    bundles_bucket = local.buckets.bundles
    uploads_bucket = local.buckets.uploads
    kms_key_arn    = null
  }
}

output "storage" {
  description = "StorageClass of volumes that must outlive a pod."
  value       = { class_name = module.storage.class_name }
}

output "delivery" {
  description = "How a release gets here: pushed by a workflow that takes a role on, or pulled by the cluster."
  value = {
    mode            = "pull"
    deploy_role_arn = null
    plan_role_arn   = null
    apply_role_arn  = null
  }
}

output "nodes" {
  description = "What a site's machines are made from: the seeds' folders, or the node groups' names, by pool or host."
  value       = { for name, node in module.node : name => node.seed }
}
