# The cluster: private, encrypted, nobody in by accident.
mock_provider "aws" {
  source = "../../../tests/mocks/aws"
}
provider "aws" {
  alias                       = "offline"
  region                      = "eu-central-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

variables {
  name               = "ward-prod"
  kubernetes_version = "1.35"
  vpc_id             = "vpc-1"
  subnet_ids         = ["subnet-1", "subnet-2"]
  administrators     = ["arn:aws:iam::111122223333:role/administrators"]
  allowed_cidrs      = ["10.9.0.0/16"]
  kms_key_arn        = "arn:aws:kms:eu-central-1:111122223333:key/1"
  log_retention_days = 365
  protect            = true
  pools = {
    system = { role = "system", min = 2, max = 3, disk_gib = 100, instance_types = ["m7i.large"], gpu_count = 0, labels = {}, taints = [] }
    gpu = {
      role   = "inference", min = 0, max = 2, disk_gib = 200, instance_types = ["g6.xlarge"], gpu_count = 1
      labels = { "nvidia.com/gpu.present" = "true" }
      taints = [{ key = "nvidia.com/gpu", value = "present", effect = "NoSchedule" }]
    }
  }
}

run "api_is_private" {
  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].endpoint_private_access && !aws_eks_cluster.this.vpc_config[0].endpoint_public_access
    error_message = "The API must not be on the internet."
  }
  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.api : [rule.cidr_ipv4, rule.from_port, rule.to_port]] == [["10.9.0.0/16", 443, 443]]
    error_message = "Only allowed networks reach the API, by HTTPS."
  }
}

run "nobody_gets_in_by_having_created_it" {
  assert {
    condition     = aws_eks_cluster.this.access_config[0].authentication_mode == "API" && !aws_eks_cluster.this.access_config[0].bootstrap_cluster_creator_admin_permissions
    error_message = "Access entries are the only way in."
  }
  assert {
    condition     = tolist([for entry in aws_eks_access_entry.administrator : entry.principal_arn]) == var.administrators
    error_message = "Administrators."
  }
}

run "secrets_disks_and_logs_are_encrypted" {
  assert {
    condition     = aws_eks_cluster.this.encryption_config[0].resources == toset(["secrets"]) && aws_eks_cluster.this.encryption_config[0].provider[0].key_arn == var.kms_key_arn
    error_message = "Kubernetes secrets are encrypted with the site's key."
  }
  assert {
    condition     = alltrue([for template in aws_launch_template.this : tobool(template.block_device_mappings[0].ebs[0].encrypted) && template.block_device_mappings[0].ebs[0].kms_key_id == var.kms_key_arn])
    error_message = "Nodes' disks are encrypted with the site's key."
  }
  assert {
    condition     = aws_cloudwatch_log_group.this.kms_key_id == var.kms_key_arn && aws_eks_cluster.this.enabled_cluster_log_types == toset(["api", "audit", "authenticator", "controllerManager", "scheduler"])
    error_message = "All logs of the control plane are kept, encrypted."
  }
  assert {
    condition     = aws_eks_cluster.this.deletion_protection
    error_message = "A protected cluster refuses to be deleted."
  }
}

run "nodes_insist_on_imdsv2_and_keep_it_from_pods" {
  assert {
    condition     = alltrue([for template in aws_launch_template.this : template.metadata_options[0].http_tokens == "required" && template.metadata_options[0].http_put_response_hop_limit == 1])
    error_message = "IMDSv2 only, one hop."
  }
}

run "gpu_nodes_are_tainted_and_have_drivers" {
  assert {
    condition     = [for taint in aws_eks_node_group.this["gpu"].taint : [taint.key, taint.value, taint.effect]] == [["nvidia.com/gpu", "present", "NO_SCHEDULE"]]
    error_message = "GPU nodes are kept for those who ask for a GPU."
  }
  assert {
    condition     = aws_eks_node_group.this["gpu"].ami_type == "AL2023_x86_64_NVIDIA" && aws_eks_node_group.this["system"].ami_type == "AL2023_x86_64_STANDARD"
    error_message = "GPU nodes need the image with drivers."
  }
  assert {
    condition     = aws_eks_node_group.this["gpu"].scaling_config[0].min_size == 0 && aws_eks_node_group.this["system"].scaling_config[0].min_size == 2
    error_message = "An idle GPU pool costs nothing."
  }
}

run "network_plugin_comes_before_the_nodes" {
  assert {
    condition     = toset(keys(aws_eks_addon.before_nodes)) == toset(["vpc-cni", "kube-proxy", "eks-pod-identity-agent"]) && !aws_eks_cluster.this.bootstrap_self_managed_addons
    error_message = "Nodes without a network plugin never get ready."
  }
  assert {
    condition     = jsondecode(aws_eks_addon.before_nodes["vpc-cni"].configuration_values).enableNetworkPolicy == "true"
    error_message = "Without it, NetworkPolicies are accepted and do nothing."
  }
}

run "nodes_may_join_and_pull_only" {
  assert {
    condition     = toset([for attachment in aws_iam_role_policy_attachment.node : reverse(split("/", attachment.policy_arn))[0]]) == toset(["AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly"])
    error_message = "Whoever breaks out of a pod gets the node's rights."
  }
}

run "with_karpenter_only_the_system_pool_is_a_group" {
  variables {
    karpenter = true
  }

  assert {
    condition     = keys(aws_eks_node_group.this) == ["system"]
    error_message = "Karpenter starts the others."
  }
}

run "roles_trust_one_service_each" {
  command   = plan
  providers = { aws = aws.offline }

  assert {
    condition     = { for name, document in data.aws_iam_policy_document.trust : name => jsondecode(document.json).Statement[0].Principal.Service } == { "eks" = "eks.amazonaws.com", "ec2" = "ec2.amazonaws.com", "pods.eks" = "pods.eks.amazonaws.com" }
    error_message = "Trust."
  }
  assert {
    condition     = alltrue([for statement in jsondecode(data.aws_iam_policy_document.ebs_key.json).Statement : statement.Resource == var.kms_key_arn])
    error_message = "The volume driver uses the site's key and no other."
  }
}

run "refuses_name_with_capitals" {
  command = plan

  variables {
    name = "Ward"
  }

  expect_failures = [var.name]
}

run "refuses_key_that_is_no_arn" {
  command = plan

  variables {
    kms_key_arn = "alias/ward"
  }

  expect_failures = [var.kms_key_arn]
}

run "refuses_logs_of_a_week" {
  command = plan

  variables {
    log_retention_days = 7
  }

  expect_failures = [var.log_retention_days]
}

run "refuses_kubernetes_channel" {
  command = plan

  variables {
    kubernetes_version = "latest"
  }

  expect_failures = [var.kubernetes_version]
}

run "refuses_no_vpc" {
  command = plan

  variables {
    vpc_id = ""
  }

  expect_failures = [var.vpc_id]
}

run "refuses_one_subnet" {
  command = plan

  variables {
    subnet_ids = ["subnet-1"]
  }

  expect_failures = [var.subnet_ids]
}

run "refuses_no_administrator" {
  command = plan

  variables {
    administrators = []
  }

  expect_failures = [var.administrators]
}

run "refuses_the_whole_internet" {
  command = plan

  variables {
    allowed_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.allowed_cidrs]
}

run "refuses_no_system_pool" {
  command = plan

  variables {
    pools = {}
  }

  expect_failures = [var.pools]
}

run "refuses_boundary_by_name" {
  command = plan

  variables {
    permissions_boundary_arn = "boundary"
  }

  expect_failures = [var.permissions_boundary_arn]
}

run "every_role_is_under_the_boundary" {
  variables {
    permissions_boundary_arn = "arn:aws:iam::111122223333:policy/boundary"
  }

  assert {
    condition     = alltrue([for role in concat([aws_iam_role.cluster, aws_iam_role.node], values(aws_iam_role.addon)) : role.permissions_boundary == var.permissions_boundary_arn])
    error_message = "A role without the boundary could not be made by the role that applies, and must not be."
  }
}
