output "domain" {
  description = "Where the hostname's DNS record (an alias) must point, and its hosted zone."
  value = {
    target  = aws_apigatewayv2_domain_name.this.domain_name_configuration[0].target_domain_name
    zone_id = aws_apigatewayv2_domain_name.this.domain_name_configuration[0].hosted_zone_id
  }
}

output "target_group_arn" {
  description = "ARN of the target group that the cluster fills."
  value       = aws_lb_target_group.this.arn
}
