output "user_data" {
  description = "The machine's cloud-init user data."
  value       = local.user_data
  sensitive   = true
}

output "meta_data" {
  description = "The machine's cloud-init meta data (NoCloud)."
  value       = local.meta_data
}

output "files" {
  description = "What is written to the machine: content and permissions by path."
  value       = local.files
  sensitive   = true
}
