output "manifests" {
  description = "Manifests by file name, for the servers to apply."
  value       = { "kube-vip.yaml" = join("---\n", [for object in local.objects : yamlencode(object)]) }
}

output "service_annotation" {
  description = "Annotation that gives a Service of type LoadBalancer its address."
  value       = "kube-vip.io/loadbalancerIPs"
}
