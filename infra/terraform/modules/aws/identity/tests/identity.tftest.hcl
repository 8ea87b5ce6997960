# Who in the cluster may do what in the account.
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
  name             = "ward-prod"
  bucket_arns      = { bundles = "arn:aws:s3:::ward-bundles", uploads = "arn:aws:s3:::ward-uploads" }
  kms_key_arn      = "arn:aws:kms:eu-central-1:111122223333:key/1"
  target_group_arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/ward/1"
}

run "each_service_account_has_a_role_of_its_own" {
  assert {
    condition     = { for name, association in aws_eks_pod_identity_association.this : name => "${association.namespace}/${association.service_account}" } == { service = "bedside/bedside", secrets = "external-secrets/external-secrets", balancer = "aws-load-balancer/aws-load-balancer-controller" }
    error_message = "Associations."
  }
}

run "policies_are_least_privilege" {
  command   = plan
  providers = { aws = aws.offline }

  override_data {
    target = data.aws_caller_identity.this
    values = { account_id = "111122223333" }
  }
  override_data {
    target = data.aws_region.this
    values = { region = "eu-central-1" }
  }

  assert {
    condition = alltrue([for document in [data.aws_iam_policy_document.service.json, data.aws_iam_policy_document.secrets.json, data.aws_iam_policy_document.balancer.json] :
    alltrue(flatten([for statement in jsondecode(document).Statement : [for action in flatten([statement.Action]) : !strcontains(action, "*")]]))])
    error_message = "No wildcard in an action."
  }
  assert {
    condition = alltrue(flatten([for document in [data.aws_iam_policy_document.service.json, data.aws_iam_policy_document.secrets.json, data.aws_iam_policy_document.balancer.json] :
    [for statement in jsondecode(document).Statement : statement.Resource != "*" || alltrue([for action in flatten([statement.Action]) : strcontains(action, ":Describe")])]]))
    error_message = "Everything but describing names its resource."
  }
  assert {
    condition = alltrue([for statement in jsondecode(data.aws_iam_policy_document.service.json).Statement :
    !contains(flatten([statement.Action]), "s3:PutObject") || statement.Resource == "arn:aws:s3:::ward-uploads/*"])
    error_message = "The service must not write bundles: what serves would change what serves."
  }
  assert {
    condition = jsonencode({ for statement in jsondecode(data.aws_iam_policy_document.service.json).Statement : statement.Sid => sort(flatten([statement.Action]))
    if strcontains(jsonencode(statement.Resource), "arn:aws:s3:::ward-uploads") }) == jsonencode({ List = ["s3:ListBucket"], Uploads = ["s3:GetObject", "s3:PutObject"] })
    error_message = "Of uploads the service writes, reads and finds; it deletes none."
  }
  assert {
    condition = [for statement in jsondecode(data.aws_iam_policy_document.balancer.json).Statement :
    statement.Resource if contains(flatten([statement.Action]), "elasticloadbalancing:RegisterTargets")] == [var.target_group_arn]
    error_message = "The controller fills this site's target group and no other."
  }
  assert {
    condition     = jsondecode(data.aws_iam_policy_document.secrets.json).Statement[0].Resource == "arn:aws:secretsmanager:eu-central-1:111122223333:secret:ward-prod/*"
    error_message = "External Secrets reads this site's secrets and no others."
  }
  assert {
    condition     = jsondecode(data.aws_iam_policy_document.trust["service"].json).Statement[0].Condition.StringEquals == { "aws:RequestTag/eks-cluster-name" = "ward-prod", "aws:RequestTag/kubernetes-namespace" = "bedside", "aws:RequestTag/kubernetes-service-account" = "bedside" }
    error_message = "A role is for one service account of one cluster."
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

run "refuses_bucket_with_a_path" {
  command = plan

  variables {
    bucket_arns = { bundles = "arn:aws:s3:::a/b", uploads = "arn:aws:s3:::c" }
  }

  expect_failures = [var.bucket_arns]
}

run "refuses_load_balancer_as_target_group" {
  command = plan

  variables {
    target_group_arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/app/x/1"
  }

  expect_failures = [var.target_group_arn]
}

run "refuses_unknown_role" {
  command = plan

  variables {
    service_accounts = { service = { namespace = "a", name = "b" } }
  }

  expect_failures = [var.service_accounts]
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
    condition     = alltrue([for role in values(aws_iam_role.this) : role.permissions_boundary == var.permissions_boundary_arn])
    error_message = "A role without the boundary could not be made by the role that applies, and must not be."
  }
}
