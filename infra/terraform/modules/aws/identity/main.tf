data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}
data "aws_region" "this" {}

locals {
  documents = {
    service  = data.aws_iam_policy_document.service.json
    secrets  = data.aws_iam_policy_document.secrets.json
    balancer = data.aws_iam_policy_document.balancer.json
  }
  secrets_arn = "arn:${data.aws_partition.this.partition}:secretsmanager:${data.aws_region.this.region}:${data.aws_caller_identity.this.account_id}:secret:${var.name}/*"
}

# EKS Pod Identity: a role for a service account, without OIDC providers and without annotations in the cluster.
resource "aws_iam_role" "this" {
  for_each = local.documents

  name_prefix          = "${var.name}-${each.key}-"
  assume_role_policy   = data.aws_iam_policy_document.trust[each.key].json
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role_policy" "this" {
  for_each = local.documents

  role   = aws_iam_role.this[each.key].id
  policy = each.value
}

resource "aws_eks_pod_identity_association" "this" {
  for_each = local.documents

  cluster_name    = var.name
  namespace       = var.service_accounts[each.key].namespace
  service_account = var.service_accounts[each.key].name
  role_arn        = aws_iam_role.this[each.key].arn
}

# The session tags are EKS's, not the pod's: another cluster, namespace or service account cannot take the role.
data "aws_iam_policy_document" "trust" {
  for_each = var.service_accounts

  statement {
    actions = ["sts:AssumeRole", "sts:TagSession"]

    principals {
      type        = "Service"
      identifiers = ["pods.eks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/eks-cluster-name"
      values   = [var.name]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/kubernetes-namespace"
      values   = [each.value.namespace]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/kubernetes-service-account"
      values   = [each.value.name]
    }
  }
}

# The service reads bundles; it signs addresses that uploads are put to, and reads those. The bucket deletes them.
data "aws_iam_policy_document" "service" {
  statement {
    sid       = "ReadBundles"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = ["${var.bucket_arns.bundles}/*"]
  }

  # Without it S3 says 403 of what is not there, and an upload that has gone would look like an outage.
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = values(var.bucket_arns)
  }

  statement {
    sid       = "Uploads"
    actions   = ["s3:PutObject", "s3:GetObject"]
    resources = ["${var.bucket_arns.uploads}/*"]
  }

  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.kms_key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${data.aws_region.this.region}.amazonaws.com"]
    }
  }
}

# External Secrets reads this site's secrets; it writes none.
data "aws_iam_policy_document" "secrets" {
  statement {
    sid       = "Read"
    actions   = ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"]
    resources = [local.secrets_arn]
  }

  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt"]
    resources = [var.kms_key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["secretsmanager.${data.aws_region.this.region}.amazonaws.com"]
    }
  }
}

# Terraform owns the load balancer; the controller only says which pods are behind it, and only for this target group: a
# TargetGroupBinding can name any target group of the account.
data "aws_iam_policy_document" "balancer" {
  statement {
    sid       = "Targets"
    actions   = ["elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets"]
    resources = [var.target_group_arn]
  }

  #checkov:skip=CKV_AWS_356:describe actions know no resources (service authorization reference)
  statement {
    sid = "Describe"
    actions = [
      "elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeTargetHealth",
      "ec2:DescribeVpcs", "ec2:DescribeSubnets", "ec2:DescribeSecurityGroups", "ec2:DescribeInstances",
      "ec2:DescribeAvailabilityZones", "ec2:DescribeNetworkInterfaces",
    ]
    resources = ["*"]
  }
}
