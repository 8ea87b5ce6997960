# Who in GitHub may do what in the account.
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
  name                     = "ward-prod"
  repository               = "hospital/bedside-site"
  environment              = "production"
  provider_arn             = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"
  state                    = { bucket_arn = "arn:aws:s3:::ward-state", prefix = "ward-prod", kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/2" }
  permissions_boundary_arn = "arn:aws:iam::111122223333:policy/boundary"
  repository_arns          = ["arn:aws:ecr:eu-central-1:111122223333:repository/ward-prod/bundles"]
  bundles_bucket_arn       = "arn:aws:s3:::ward-bundles"
  kms_key_arn              = "arn:aws:kms:eu-central-1:111122223333:key/1"
  cluster_arn              = "arn:aws:eks:eu-central-1:111122223333:cluster/ward-prod"
}

run "one_role_per_duty" {
  assert {
    condition     = toset(keys(output.role_arns)) == toset(["deploy", "plan", "apply"]) && length(aws_iam_openid_connect_provider.this) == 0
    error_message = "Roles."
  }
  assert {
    condition     = aws_iam_role.this["apply"].permissions_boundary == var.permissions_boundary_arn
    error_message = "The role that makes roles is bounded."
  }
  assert {
    condition     = [for attachment in aws_iam_role_policy_attachment.plan : attachment.policy_arn] == ["arn:aws:iam::aws:policy/job-function/ViewOnlyAccess"]
    error_message = "Planning only looks."
  }
}

run "without_state_it_deploys_only" {
  variables {
    state                    = null
    permissions_boundary_arn = null
    provider_arn             = null
  }

  assert {
    condition     = keys(output.role_arns) == ["deploy"] && aws_iam_openid_connect_provider.this[0].client_id_list == toset(["sts.amazonaws.com"])
    error_message = "One role, and the provider it trusts."
  }
}

run "only_the_repositorys_environments_come_in" {
  command   = plan
  providers = { aws = aws.offline }

  override_data {
    target = data.aws_caller_identity.this
    values = { account_id = "111122223333" }
  }

  assert {
    condition     = { for name in ["deploy", "apply"] : name => jsondecode(data.aws_iam_policy_document.trust[name].json).Statement[0].Condition.StringEquals["token.actions.githubusercontent.com:sub"] } == { deploy = "repo:hospital/bedside-site:environment:production", apply = "repo:hospital/bedside-site:environment:infra-apply" }
    error_message = "Applying and deploying wait for the environment's reviewers."
  }
  assert {
    condition     = toset(jsondecode(data.aws_iam_policy_document.trust["plan"].json).Statement[0].Condition.StringEquals["token.actions.githubusercontent.com:sub"]) == toset(["repo:hospital/bedside-site:pull_request", "repo:hospital/bedside-site:environment:infra-plan"])
    error_message = "Pull requests plan, and no more."
  }
  assert {
    condition = alltrue([for document in data.aws_iam_policy_document.trust :
      keys(jsondecode(document.json).Statement[0].Condition) == ["StringEquals"] && !strcontains(document.json, "*") &&
    jsondecode(document.json).Statement[0].Condition.StringEquals["token.actions.githubusercontent.com:aud"] == "sts.amazonaws.com"])
    error_message = "Equal, not like; and for AWS only."
  }
}

run "policies_are_least_privilege" {
  command   = plan
  providers = { aws = aws.offline }

  override_data {
    target = data.aws_caller_identity.this
    values = { account_id = "111122223333" }
  }

  assert {
    condition = alltrue([for statement in jsondecode(data.aws_iam_policy_document.deploy.json).Statement :
    statement.Resource != "*" || statement.Action == "ecr:GetAuthorizationToken"])
    error_message = "Deploying names what it touches."
  }
  assert {
    condition = alltrue(flatten([for statement in jsondecode(data.aws_iam_policy_document.deploy.json).Statement :
    [for action in flatten([statement.Action]) : !strcontains(action, "*") && !strcontains(action, "Delete")]]))
    error_message = "Deploying deletes nothing."
  }
  assert {
    condition     = [for statement in jsondecode(data.aws_iam_policy_document.state["plan"].json).Statement : statement.Resource if statement.Sid == "Write"] == ["arn:aws:s3:::ward-state/ward-prod/*.tflock"]
    error_message = "Planning must not write state."
  }
  assert {
    condition = anytrue([for statement in jsondecode(data.aws_iam_policy_document.apply[0].json).Statement :
    statement.Effect == "Deny" && statement.Action == "iam:*" && contains(flatten([statement.Resource]), "arn:aws:iam::111122223333:policy/boundary") && contains(flatten([statement.Resource]), "arn:aws:iam::111122223333:role/ward-prod-github-*")])
    error_message = "Applying must not change its own role nor the boundary."
  }
  assert {
    condition = alltrue([for statement in jsondecode(data.aws_iam_policy_document.apply[0].json).Statement :
    statement.Effect == "Deny" || !contains(flatten([statement.Action]), "iam:CreateRole") || try(statement.Condition.StringEquals["iam:PermissionsBoundary"], null) == var.permissions_boundary_arn])
    error_message = "Roles are made under the boundary only."
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

run "refuses_wildcard_repository" {
  command = plan

  variables {
    repository = "hospital/*"
  }

  expect_failures = [var.repository]
}

run "refuses_environment_with_spaces" {
  command = plan

  variables {
    environment = "prod *"
  }

  expect_failures = [var.environment]
}

run "refuses_another_identity_provider" {
  command = plan

  variables {
    provider_arn = "arn:aws:iam::111122223333:oidc-provider/id.example.org"
  }

  expect_failures = [var.provider_arn]
}

run "refuses_state_of_all_sites" {
  command = plan

  variables {
    state = { bucket_arn = "arn:aws:s3:::ward-state", prefix = "", kms_key_arn = "k" }
  }

  expect_failures = [var.state]
}

run "refuses_roles_without_boundary" {
  command = plan

  variables {
    permissions_boundary_arn = null
  }

  expect_failures = [var.permissions_boundary_arn]
}

run "refuses_no_repository" {
  command = plan

  variables {
    repository_arns = []
  }

  expect_failures = [var.repository_arns]
}

run "refuses_bucket_with_a_path" {
  command = plan

  variables {
    bundles_bucket_arn = "arn:aws:s3:::a/b"
  }

  expect_failures = [var.bundles_bucket_arn]
}

run "refuses_cluster_by_name" {
  command = plan

  variables {
    cluster_arn = "ward-prod"
  }

  expect_failures = [var.cluster_arn]
}
