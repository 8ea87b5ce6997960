# A site on AWS, whole.
mock_provider "aws" {
  source = "../../../tests/mocks/aws"
}

variables {
  target         = "aws"
  name           = "ward"
  environment    = "prod"
  administrators = ["arn:aws:iam::111122223333:role/administrators"]
  node_pools = {
    system = { role = "system", min = 2, max = 3, instance_types = ["m7i.large"] }
    gpu    = { role = "inference", min = 0, max = 2, instance_types = ["g6.xlarge"], gpu = {}, labels = { modality = "ct" } }
  }
  network  = { cidr = "10.20.0.0/16" }
  endpoint = { hostname = "inference.example.org", certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/1" }
  oidc     = { issuer = "https://id.example.org/realms/hospital" }
}

run "builds_a_site" {
  assert {
    condition     = output.limits.body_bytes == 10000000 && output.limits.request_seconds == 30
    error_message = "The limits are API Gateway's."
  }
  assert {
    condition     = output.settings.BEDSIDE_LIMITS__BODY_BYTES == "10000000"
    error_message = "The service is told."
  }
  assert {
    condition     = jsondecode(output.settings.BEDSIDE_REFERENCES__BUCKETS)[output.settings.BEDSIDE_REFERENCES__UPLOADS] == { url = "s3://${output.artifacts.uploads_bucket}", endpoint = "https://s3.eu-central-1.amazonaws.com" }
    error_message = "Large inputs go to the bucket that is made for them: ${jsonencode(output.settings)}"
  }
  assert {
    condition     = output.artifacts.cidrs == tolist(["192.0.2.0/24", "198.51.100.0/24"])
    error_message = "Pods are let out to S3 where the VPC's endpoint routes it."
  }
  assert {
    condition     = output.gateway.base_url == "https://inference.example.org" && startswith(output.gateway.target_group_arn, "arn:aws:elasticloadbalancing:")
    error_message = "Gateway."
  }
  assert {
    condition     = output.delivery.mode == "pull" && output.delivery.deploy_role_arn == null
    error_message = "Without a repository no role is made for one."
  }
  assert {
    condition     = toset(keys(output.nodes)) == toset(["system", "gpu"])
    error_message = "One node group per pool."
  }
}

run "karpenter_is_left_the_inference_nodes" {
  variables {
    karpenter = true
  }

  assert {
    condition     = keys(output.nodes) == ["system"]
    error_message = "Its own pool is the only node group."
  }
}

run "a_repository_gets_roles" {
  variables {
    delivery = {
      repository               = "hospital/site"
      state                    = { bucket_arn = "arn:aws:s3:::state", kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/2" }
      permissions_boundary_arn = "arn:aws:iam::111122223333:policy/boundary"
    }
  }

  assert {
    condition     = output.delivery.mode == "push" && output.delivery.deploy_role_arn != null && output.delivery.plan_role_arn != null && output.delivery.apply_role_arn != null
    error_message = "Roles to plan, to apply and to deploy."
  }
}

run "dev_can_be_torn_down" {
  variables {
    environment = "dev"
  }

  assert {
    condition     = !module.contract.protect && output.settings.BEDSIDE_ENV == "development"
    error_message = "Only prod is protected."
  }
}

run "refuses_values_for_the_other_target" {
  command = plan

  variables {
    target     = "onprem"
    limits     = { request_seconds = 30 }
    registry   = { prefix = "oci.hospital.example" }
    k3s        = { version = "v1.35.8+k3s1", source = "file:///media", sha256 = { k3s = "0000000000000000000000000000000000000000000000000000000000000001" } }
    node_pools = { system = { role = "system", instance_types = ["m7i.large"], hosts = [{ name = "s1", address = "10.0.0.11" }] } }
  }

  expect_failures = [terraform_data.target]
}
