output "releases" {
  description = "Version of each chart, by release."
  value       = module.platform.releases
}
