# Buckets and repositories: encrypted, closed, and uploads gone after a day.
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
  name        = "ward-prod"
  kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/1"
  protect     = true
}

run "buckets_are_closed_and_encrypted" {
  assert {
    condition = alltrue([for block in aws_s3_bucket_public_access_block.this :
    block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets]) && length(aws_s3_bucket_public_access_block.this) == 2
    error_message = "Every bucket is closed to the public."
  }
  assert {
    condition = alltrue([for encryption in aws_s3_bucket_server_side_encryption_configuration.this :
    alltrue([for rule in encryption.rule : rule.apply_server_side_encryption_by_default[0].sse_algorithm == "aws:kms" && rule.apply_server_side_encryption_by_default[0].kms_master_key_id == var.kms_key_arn])]) && length(aws_s3_bucket_server_side_encryption_configuration.this) == 2
    error_message = "Every bucket is encrypted with the site's key."
  }
  assert {
    condition     = alltrue([for control in aws_s3_bucket_ownership_controls.this : control.rule[0].object_ownership == "BucketOwnerEnforced"])
    error_message = "ACLs are off."
  }
  assert {
    condition     = alltrue([for bucket in aws_s3_bucket.this : !bucket.force_destroy])
    error_message = "A protected bucket must not be destroyed with what it holds."
  }
  assert {
    condition     = output.buckets == { bundles = "ward-prod-bundles-111122223333", uploads = "ward-prod-uploads-111122223333" }
    error_message = "Names."
  }
}

run "uploads_go_after_a_day_and_bundles_stay" {
  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.this["uploads"].rule[0].expiration[0].days == 1
    error_message = "Uploads hold patients' images and must go."
  }
  assert {
    condition     = length(aws_s3_bucket_lifecycle_configuration.this["bundles"].rule[0].expiration) == 0
    error_message = "A bundle that serves must not expire."
  }
}

run "images_are_immutable_scanned_and_encrypted" {
  assert {
    condition = alltrue([for repository in aws_ecr_repository.this :
    repository.image_tag_mutability == "IMMUTABLE" && repository.image_scanning_configuration[0].scan_on_push && repository.encryption_configuration[0].kms_key == var.kms_key_arn])
    error_message = "A tag must stay what it was, and be scanned and encrypted."
  }
  assert {
    condition     = output.registry_prefix == "111122223333.dkr.ecr.eu-central-1.amazonaws.com/ward-prod"
    error_message = "Prefix."
  }
}

run "buckets_refuse_plain_http_and_old_signatures" {
  command   = plan
  providers = { aws = aws.offline }

  override_data {
    target = data.aws_caller_identity.this
    values = { account_id = "111122223333" }
  }

  assert {
    condition = alltrue([for document in data.aws_iam_policy_document.bucket :
      anytrue([for statement in jsondecode(document.json).Statement :
    statement.Effect == "Deny" && statement.Principal == "*" && try(statement.Condition.Bool["aws:SecureTransport"], "") == "false" && length(statement.Resource) == 2])])
    error_message = "Every bucket refuses plain HTTP, from anybody."
  }
  assert {
    condition = alltrue([for document in data.aws_iam_policy_document.bucket :
    anytrue([for statement in jsondecode(document.json).Statement : try(statement.Condition.NumericGreaterThan["s3:signatureAge"], "") == "900000"])])
    error_message = "A presigned URL is good for 15 minutes."
  }
  assert {
    condition     = alltrue(flatten([for document in data.aws_iam_policy_document.bucket : [for statement in jsondecode(document.json).Statement : statement.Effect == "Deny"]]))
    error_message = "Bucket policies only take away; rights come from roles."
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

run "refuses_uploads_kept_for_a_year" {
  command = plan

  variables {
    upload_days = 365
  }

  expect_failures = [var.upload_days]
}

run "refuses_no_repository" {
  command = plan

  variables {
    repositories = []
  }

  expect_failures = [var.repositories]
}
