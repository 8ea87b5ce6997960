output "vpc_id" {
  description = "Id of the VPC."
  value       = aws_vpc.this.id

  # Nodes must not start before their way to images exists.
  depends_on = [aws_route.nat, aws_vpc_endpoint.interface, aws_vpc_endpoint.s3]
}

output "subnet_ids" {
  description = "Ids of the private subnets, one per zone."
  value       = [for zone in sort(keys(local.zones)) : aws_subnet.private[zone].id]

  depends_on = [aws_route.nat, aws_route_table_association.private, aws_vpc_endpoint.interface, aws_vpc_endpoint.s3]
}

output "s3_cidrs" {
  description = "Addresses of S3 in the region, as its endpoint routes them."
  value       = aws_vpc_endpoint.s3.cidr_blocks
}
