data "aws_caller_identity" "this" {}
data "aws_partition" "this" {}

locals {
  issuer   = "token.actions.githubusercontent.com"
  provider = coalesce(var.provider_arn, one(aws_iam_openid_connect_provider.this[*].arn))
  account  = "arn:${data.aws_partition.this.partition}:iam::${data.aws_caller_identity.this.account_id}"
  manages  = var.state != null

  # A job that names an environment has it in `sub` instead of its branch (github/docs#28292). Planning reads, so pull requests of the
  # repository's own branches may; those of forks get no token. Applying and deploying wait for their environments' reviewers. The
  # names are those of .github/workflows (a test compares).
  subjects = {
    deploy = ["repo:${var.repository}:environment:${var.environment}"]
    plan   = ["repo:${var.repository}:pull_request", "repo:${var.repository}:environment:infra-plan"]
    apply  = ["repo:${var.repository}:environment:infra-apply"]
  }
  roles = local.manages ? local.subjects : { deploy = local.subjects.deploy }
}

resource "aws_iam_openid_connect_provider" "this" {
  count = var.provider_arn == null ? 1 : 0

  url            = "https://${local.issuer}"
  client_id_list = ["sts.amazonaws.com"]
}

resource "aws_iam_role" "this" {
  for_each = local.roles

  name                 = "${var.name}-github-${each.key}"
  assume_role_policy   = data.aws_iam_policy_document.trust[each.key].json
  max_session_duration = 3600
  permissions_boundary = each.key == "apply" ? var.permissions_boundary_arn : null
}

resource "aws_iam_role_policy" "deploy" {
  role   = aws_iam_role.this["deploy"].id
  policy = data.aws_iam_policy_document.deploy.json
}

resource "aws_iam_role_policy" "state" {
  for_each = toset(local.manages ? ["plan", "apply"] : [])

  role   = aws_iam_role.this[each.key].id
  policy = data.aws_iam_policy_document.state[each.key].json
}

# Planning needs to describe everything and to read nothing that is stored: ViewOnlyAccess has no s3:GetObject, no secrets.
resource "aws_iam_role_policy_attachment" "plan" {
  count = local.manages ? 1 : 0

  role       = aws_iam_role.this["plan"].name
  policy_arn = "arn:${data.aws_partition.this.partition}:iam::aws:policy/job-function/ViewOnlyAccess"
}

resource "aws_iam_role_policy" "apply" {
  count = local.manages ? 1 : 0

  role   = aws_iam_role.this["apply"].id
  policy = data.aws_iam_policy_document.apply[0].json
}

data "aws_iam_policy_document" "trust" {
  for_each = local.roles

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [local.provider]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }

    # Equal, not like: no wildcard can let another repository, branch or environment in.
    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:sub"
      values   = each.value
    }
  }
}

# A release: push images and artefacts, put bundles, look the cluster up. No deleting.
data "aws_iam_policy_document" "deploy" {
  #checkov:skip=CKV_AWS_356:ecr:GetAuthorizationToken knows no resources (service authorization reference)
  statement {
    sid       = "Login"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid = "Push"
    actions = [
      "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:DescribeImages",
      "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage",
    ]
    resources = var.repository_arns
  }

  statement {
    sid       = "Bundles"
    actions   = ["s3:PutObject", "s3:GetObject"]
    resources = ["${var.bundles_bucket_arn}/*"]
  }

  statement {
    sid       = "ListBundles"
    actions   = ["s3:ListBucket"]
    resources = [var.bundles_bucket_arn]
  }

  statement {
    sid       = "Key"
    actions   = ["kms:GenerateDataKey", "kms:Decrypt"]
    resources = [var.kms_key_arn]
  }

  statement {
    sid       = "Cluster"
    actions   = ["eks:DescribeCluster"]
    resources = [var.cluster_arn]
  }
}

data "aws_iam_policy_document" "state" {
  for_each = toset(local.manages ? ["plan", "apply"] : [])

  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [var.state.bucket_arn]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["${var.state.prefix}/*"]
    }
  }

  statement {
    sid       = "Read"
    actions   = ["s3:GetObject"]
    resources = ["${var.state.bucket_arn}/${var.state.prefix}/*"]
  }

  # Planning holds the lock (a file beside the state) and leaves the state alone.
  statement {
    sid       = "Write"
    actions   = ["s3:PutObject", "s3:DeleteObject"]
    resources = [each.key == "apply" ? "${var.state.bucket_arn}/${var.state.prefix}/*" : "${var.state.bucket_arn}/${var.state.prefix}/*.tflock"]
  }

  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.state.kms_key_arn]
  }
}

# What these modules are made of, and roles only under the boundary.
data "aws_iam_policy_document" "apply" {
  #checkov:skip=CKV_AWS_107:building a site needs these services whole; the boundary decides what the role can really reach
  #checkov:skip=CKV_AWS_108:the same
  #checkov:skip=CKV_AWS_109:the same; roles can be made only with the boundary, which is not the role's to change
  #checkov:skip=CKV_AWS_111:the same
  #checkov:skip=CKV_AWS_356:the same
  count = local.manages ? 1 : 0

  statement {
    sid = "Services"
    actions = [
      "apigateway:*", "ec2:*", "ecr:*", "eks:*", "elasticloadbalancing:*", "events:*", "kms:*", "logs:*", "s3:*", "sqs:*",
      "acm:DescribeCertificate", "iam:Get*", "iam:List*",
    ]
    resources = ["*"]
  }

  statement {
    sid       = "RolesUnderTheBoundary"
    actions   = ["iam:CreateRole", "iam:PutRolePermissionsBoundary"]
    resources = ["${local.account}:role/${var.name}-*"]

    condition {
      test     = "StringEquals"
      variable = "iam:PermissionsBoundary"
      values   = [var.permissions_boundary_arn]
    }
  }

  statement {
    sid = "Roles"
    actions = [
      "iam:DeleteRole", "iam:UpdateRole", "iam:UpdateAssumeRolePolicy", "iam:TagRole", "iam:UntagRole", "iam:PutRolePolicy",
      "iam:DeleteRolePolicy", "iam:AttachRolePolicy", "iam:DetachRolePolicy", "iam:PassRole",
    ]
    resources = ["${local.account}:role/${var.name}-*"]
  }

  statement {
    sid       = "ServiceLinkedRoles"
    actions   = ["iam:CreateServiceLinkedRole"]
    resources = ["${local.account}:role/aws-service-role/*"]
  }

  # Not its own door, and not the boundary.
  statement {
    sid       = "NotItself"
    effect    = "Deny"
    actions   = ["iam:*"]
    resources = ["${local.account}:role/${var.name}-github-*", var.permissions_boundary_arn]
  }
}
