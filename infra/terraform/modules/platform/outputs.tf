output "namespace" {
  description = "Namespace of the service."
  value       = kubernetes_namespace_v1.this[local.service].metadata[0].name
}

output "releases" {
  description = "Version of each chart, by release."
  value       = { for name, release in helm_release.this : name => release.version }
}

output "manifests" {
  description = "Kind and name of each object that the site's own chart holds."
  value       = [for manifest in local.manifests : "${manifest.kind}/${manifest.metadata.name}"]
}
