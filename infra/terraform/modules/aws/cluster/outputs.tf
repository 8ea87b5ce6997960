output "name" {
  description = "Name of the cluster; known once its administrators are let in."
  value       = aws_eks_cluster.this.name

  depends_on = [aws_eks_access_policy_association.administrator]
}

output "endpoint" {
  description = "URL of the Kubernetes API, private to the VPC."
  value       = aws_eks_cluster.this.endpoint
}

output "ca_certificate" {
  description = "PEM of the API's authority."
  value       = base64decode(aws_eks_cluster.this.certificate_authority[0].data)
}

output "node_security_group_id" {
  description = "Id of the security group that nodes and pods share."
  value       = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
}

output "node_role" {
  description = "Name and ARN of the nodes' role."
  value       = { name = aws_iam_role.node.name, arn = aws_iam_role.node.arn }
}

output "node_groups" {
  description = "Names of the node groups, by pool."
  value       = { for name, group in aws_eks_node_group.this : name => group.node_group_name }
}
