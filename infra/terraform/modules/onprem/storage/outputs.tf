output "manifests" {
  description = "Manifests by file name, for the servers to apply."
  value       = local.replicated ? { "longhorn.yaml" = yamlencode(local.longhorn) } : {}
}

output "class_name" {
  description = "StorageClass of volumes that must outlive a pod."
  value       = local.replicated ? "longhorn" : "local-path"
}
