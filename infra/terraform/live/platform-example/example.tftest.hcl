# One root for both targets, fed with what a site gives out.
mock_provider "helm" {}
mock_provider "kubernetes" {}

variables {
  handover = {
    cluster   = { name = "radiology-prod", target = "onprem", version = "1.35" }
    gateway   = { hostname = "inference.hospital.example", address = "10.30.0.10" }
    settings  = { BEDSIDE_LIMITS__BODY_BYTES = "536870912" }
    registry  = { prefix = "oci.hospital.example/bedside" }
    storage   = { class_name = "longhorn" }
    artifacts = {}
    api       = { endpoint = "https://10.30.0.9:6443", ca_certificate = "-----BEGIN CERTIFICATE-----" }
  }
  credentials = { client_certificate = "-----BEGIN CERTIFICATE-----", client_key = "-----BEGIN EC PRIVATE KEY-----" }
}

run "builds_on_premises" {
  command = plan

  assert {
    condition     = !contains(keys(output.releases), "aws-load-balancer")
    error_message = "AWS's controller has no business here."
  }
}

run "builds_on_aws" {
  command = plan

  variables {
    handover = {
      cluster   = { name = "radiology-prod", target = "aws", version = "1.35" }
      gateway   = { hostname = "inference.example.org", target_group_arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/radiol/1" }
      settings  = { BEDSIDE_LIMITS__BODY_BYTES = "10000000" }
      registry  = { prefix = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/radiology-prod" }
      storage   = { class_name = "gp3-encrypted" }
      artifacts = { kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/1" }
      api       = { endpoint = "https://example.eks.amazonaws.com", ca_certificate = "-----BEGIN CERTIFICATE-----" }
      aws       = { region = "eu-central-1", vpc_id = "vpc-1" }
    }
    credentials = { command = ["aws", "eks", "get-token", "--cluster-name", "radiology-prod"] }
  }

  assert {
    condition     = contains(keys(output.releases), "aws-load-balancer")
    error_message = "The load balancer's targets need their controller."
  }
}

run "refuses_api_without_tls" {
  command = plan

  variables {
    handover = {
      cluster   = { name = "r", target = "onprem", version = "1.35" }
      gateway   = { hostname = "inference.hospital.example" }
      settings  = {}
      registry  = { prefix = "oci.hospital.example" }
      storage   = { class_name = "longhorn" }
      artifacts = {}
      api       = { endpoint = "http://10.30.0.9:6443", ca_certificate = "x" }
    }
  }

  expect_failures = [var.handover]
}

run "refuses_nobody" {
  command = plan

  variables {
    credentials = {}
  }

  expect_failures = [var.credentials]
}

run "refuses_mirror_that_is_no_oci" {
  command = plan

  variables {
    chart_mirror = "https://charts.example"
  }

  expect_failures = [var.chart_mirror]
}

run "refuses_overlay_outside_the_artifact" {
  command = plan

  variables {
    release = { semver = "1.0.0", path = "/etc" }
  }

  expect_failures = [var.release]
}
