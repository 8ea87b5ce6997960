output "buckets" {
  description = "Names of the buckets, by kind: bundles, uploads."
  value       = { for kind, bucket in aws_s3_bucket.this : kind => bucket.bucket }
}

output "bucket_arns" {
  description = "ARNs of the buckets, by kind."
  value       = { for kind, name in local.buckets : kind => "arn:${data.aws_partition.this.partition}:s3:::${name}" }
}

output "registry_prefix" {
  description = "Host and path of the repositories."
  value       = "${data.aws_caller_identity.this.account_id}.dkr.ecr.${data.aws_region.this.region}.${data.aws_partition.this.dns_suffix}/${var.name}"
}

output "repository_arns" {
  description = "ARNs of the repositories, by name."
  value       = { for name, repository in aws_ecr_repository.this : name => repository.arn }
}
