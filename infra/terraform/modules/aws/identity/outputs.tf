output "role_arns" {
  description = "ARNs of the roles: service, secrets, balancer."
  value       = { for name, role in aws_iam_role.this : name => role.arn }
}
