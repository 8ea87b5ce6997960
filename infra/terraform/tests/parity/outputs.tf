output "aws" {
  description = "Everything that the AWS site gives out."
  value       = module.aws
  sensitive   = true
}

output "onprem" {
  description = "Everything that the on-premises site gives out."
  value       = module.onprem
  sensitive   = true
}
