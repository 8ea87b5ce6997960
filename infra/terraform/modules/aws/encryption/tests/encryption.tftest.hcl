# The site's key and who may use it.
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
  name = "ward-prod"
}

run "key_rotates_and_can_be_brought_back" {
  assert {
    condition     = aws_kms_key.this.enable_key_rotation && aws_kms_key.this.deletion_window_in_days == 30
    error_message = "The key must rotate, and live on for 30 days after its destruction."
  }
  assert {
    condition     = output.key_arn == aws_kms_key.this.arn
    error_message = "key_arn."
  }
}

# Policies are rendered by the provider itself, without an account.
run "only_logs_of_this_site_use_it" {
  command   = plan
  providers = { aws = aws.offline }

  override_data {
    target = data.aws_caller_identity.this
    values = { account_id = "111122223333" }
  }

  assert {
    condition = alltrue([for statement in jsondecode(data.aws_iam_policy_document.key.json).Statement :
      endswith(statement.Condition.ArnLike["kms:EncryptionContext:aws:logs:arn"], ":log-group:*/ward-prod*")
    if statement.Sid == "Logs"])
    error_message = "Other sites' logs must not use the key."
  }
  assert {
    condition = [for statement in jsondecode(data.aws_iam_policy_document.key.json).Statement :
    statement.Principal.AWS if statement.Action == "kms:*"] == ["arn:aws:iam::111122223333:root"]
    error_message = "Only the account itself administers the key."
  }
}

run "refuses_name_with_capitals" {
  command = plan

  variables {
    name = "Ward"
  }

  expect_failures = [var.name]
}

run "refuses_window_that_kms_does_not_know" {
  command = plan

  variables {
    deletion_window_days = 1
  }

  expect_failures = [var.deletion_window_days]
}
