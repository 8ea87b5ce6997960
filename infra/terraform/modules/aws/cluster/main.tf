data "aws_partition" "this" {}
data "aws_default_tags" "this" {}

locals {
  policies = "arn:${data.aws_partition.this.partition}:iam::aws:policy"
  access   = "arn:${data.aws_partition.this.partition}:eks::aws:cluster-access-policy"
  # With Karpenter only the system pool, which Karpenter itself runs on, is a node group.
  groups = { for name, pool in var.pools : name => pool if pool.role == "system" || !var.karpenter }
  # EKS's spelling of the effects.
  effects = { NoSchedule = "NO_SCHEDULE", PreferNoSchedule = "PREFER_NO_SCHEDULE", NoExecute = "NO_EXECUTE" }
}

resource "aws_cloudwatch_log_group" "this" {
  # The name is EKS's own; made here, it is encrypted and has an end.
  name              = "/aws/eks/${var.name}/cluster"
  kms_key_id        = var.kms_key_arn
  retention_in_days = var.log_retention_days
}

resource "aws_eks_cluster" "this" {
  name                          = var.name
  version                       = var.kubernetes_version
  role_arn                      = aws_iam_role.cluster.arn
  enabled_cluster_log_types     = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
  bootstrap_self_managed_addons = false
  deletion_protection           = var.protect

  # Access entries only; who runs Terraform gets nothing by that alone.
  access_config {
    authentication_mode                         = "API"
    bootstrap_cluster_creator_admin_permissions = false
  }

  encryption_config {
    resources = ["secrets"]

    provider {
      key_arn = var.kms_key_arn
    }
  }

  vpc_config {
    subnet_ids              = var.subnet_ids
    security_group_ids      = [aws_security_group.api.id]
    endpoint_private_access = true
    endpoint_public_access  = false
  }

  # No surprise: a version past its standard support is upgraded, not paid for sixfold.
  upgrade_policy {
    support_type = "STANDARD"
  }

  depends_on = [aws_iam_role_policy_attachment.cluster, aws_cloudwatch_log_group.this]
}

resource "aws_security_group" "api" {
  name        = "${var.name}-api"
  description = "Kubernetes API: HTTPS from allowed networks"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-api" }
}

resource "aws_vpc_security_group_ingress_rule" "api" {
  for_each = toset(var.allowed_cidrs)

  security_group_id = aws_security_group.api.id
  description       = "HTTPS from an allowed network"
  cidr_ipv4         = each.key
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_eks_access_entry" "administrator" {
  for_each = toset(var.administrators)

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = each.key
}

resource "aws_eks_access_policy_association" "administrator" {
  for_each = toset(var.administrators)

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = aws_eks_access_entry.administrator[each.key].principal_arn
  policy_arn    = "${local.access}/AmazonEKSClusterAdminPolicy"

  access_scope {
    type = "cluster"
  }
}

# Before the nodes: without a network plugin they never get ready (terraform-aws-eks#3446). Network policies are the plugin's.
resource "aws_eks_addon" "before_nodes" {
  for_each = {
    "vpc-cni"                = jsonencode({ enableNetworkPolicy = "true", env = { ENABLE_PREFIX_DELEGATION = "true", WARM_PREFIX_TARGET = "1" } })
    "kube-proxy"             = null
    "eks-pod-identity-agent" = null
  }

  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  configuration_values        = each.value
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "PRESERVE"

  dynamic "pod_identity_association" {
    for_each = each.key == "vpc-cni" ? ["aws-node"] : []

    content {
      role_arn        = aws_iam_role.addon["cni"].arn
      service_account = pod_identity_association.value
    }
  }
}

resource "aws_eks_addon" "after_nodes" {
  for_each = toset(["coredns", "aws-ebs-csi-driver", "metrics-server"])

  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "PRESERVE"

  dynamic "pod_identity_association" {
    for_each = each.key == "aws-ebs-csi-driver" ? ["ebs-csi-controller-sa"] : []

    content {
      role_arn        = aws_iam_role.addon["ebs"].arn
      service_account = pod_identity_association.value
    }
  }

  depends_on = [aws_eks_node_group.this]
}

resource "aws_launch_template" "this" {
  for_each = local.groups

  name_prefix            = "${var.name}-${each.key}-"
  update_default_version = true

  # IMDSv2 only, and not from pods: a hop limit of 1 ends at the node. Pods get credentials from Pod Identity.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "disabled"
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_size           = each.value.disk_gib
      volume_type           = "gp3"
      encrypted             = true
      kms_key_id            = var.kms_key_arn
      delete_on_termination = true
    }
  }

  monitoring {
    enabled = true
  }

  # Default tags do not reach what a launch template starts.
  dynamic "tag_specifications" {
    for_each = toset(["instance", "volume"])

    content {
      resource_type = tag_specifications.value
      tags          = merge(data.aws_default_tags.this.tags, { Name = "${var.name}-${each.key}" })
    }
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_eks_node_group" "this" {
  for_each = local.groups

  cluster_name           = aws_eks_cluster.this.name
  node_group_name_prefix = "${each.key}-"
  node_role_arn          = aws_iam_role.node.arn
  subnet_ids             = var.subnet_ids
  instance_types         = each.value.instance_types
  ami_type               = each.value.gpu_count > 0 ? "AL2023_x86_64_NVIDIA" : "AL2023_x86_64_STANDARD"
  labels                 = each.value.labels

  launch_template {
    id      = aws_launch_template.this[each.key].id
    version = aws_launch_template.this[each.key].latest_version
  }

  scaling_config {
    min_size     = each.value.min
    max_size     = each.value.max
    desired_size = each.value.min
  }

  update_config {
    max_unavailable = 1
  }

  # A node that lost its network or its GPU is replaced.
  node_repair_config {
    enabled = true
  }

  dynamic "taint" {
    for_each = each.value.taints

    content {
      key    = taint.value.key
      value  = taint.value.value
      effect = local.effects[taint.value.effect]
    }
  }

  lifecycle {
    create_before_destroy = true
    ignore_changes        = [scaling_config[0].desired_size]
  }

  depends_on = [aws_eks_addon.before_nodes, aws_iam_role_policy_attachment.node]
}

resource "aws_iam_role" "cluster" {
  name_prefix          = "${var.name}-cluster-"
  assume_role_policy   = data.aws_iam_policy_document.trust["eks"].json
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role_policy_attachment" "cluster" {
  role       = aws_iam_role.cluster.name
  policy_arn = "${local.policies}/AmazonEKSClusterPolicy"
}

# Nodes may join and pull; the network plugin's and the volume driver's rights belong to their pods.
resource "aws_iam_role" "node" {
  name_prefix          = "${var.name}-node-"
  assume_role_policy   = data.aws_iam_policy_document.trust["ec2"].json
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role_policy_attachment" "node" {
  for_each = toset(["AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly"])

  role       = aws_iam_role.node.name
  policy_arn = "${local.policies}/${each.key}"
}

resource "aws_iam_role" "addon" {
  for_each = toset(["cni", "ebs"])

  name_prefix          = "${var.name}-${each.key}-"
  assume_role_policy   = data.aws_iam_policy_document.trust["pods.eks"].json
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role_policy_attachment" "addon" {
  for_each = { cni = "AmazonEKS_CNI_Policy", ebs = "service-role/AmazonEBSCSIDriverPolicy" }

  role       = aws_iam_role.addon[each.key].name
  policy_arn = "${local.policies}/${each.value}"
}

data "aws_iam_policy_document" "trust" {
  for_each = { "eks" = ["sts:AssumeRole"], "ec2" = ["sts:AssumeRole"], "pods.eks" = ["sts:AssumeRole", "sts:TagSession"] }

  statement {
    actions = each.value

    principals {
      type        = "Service"
      identifiers = ["${each.key}.amazonaws.com"]
    }
  }
}

# Volumes are encrypted with the site's key, which the driver must be allowed to use.
resource "aws_iam_role_policy" "ebs_key" {
  role   = aws_iam_role.addon["ebs"].id
  policy = data.aws_iam_policy_document.ebs_key.json
}

data "aws_iam_policy_document" "ebs_key" {
  statement {
    actions   = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
    resources = [var.kms_key_arn]
  }

  statement {
    actions   = ["kms:CreateGrant"]
    resources = [var.kms_key_arn]

    condition {
      test     = "Bool"
      variable = "kms:GrantIsForAWSResource"
      values   = ["true"]
    }
  }
}
