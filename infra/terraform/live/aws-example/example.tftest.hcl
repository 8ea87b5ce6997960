# The example with the values of site.tfvars.
mock_provider "aws" {
  source = "../../tests/mocks/aws"
}

variables {
  region         = "eu-central-1"
  name           = "radiology"
  environment    = "prod"
  administrators = ["arn:aws:iam::111122223333:role/platform-administrators"]

  node_pools = {
    system = { role = "system", min = 2, max = 3, instance_types = ["m7i.large"] }
    cpu    = { role = "inference", min = 1, max = 4, instance_types = ["m7i.2xlarge"] }
    gpu    = { role = "inference", min = 0, max = 2, disk_gib = 200, instance_types = ["g6.xlarge"], gpu = {} }
  }

  network  = { cidr = "10.20.0.0/16", allowed_cidrs = ["10.9.0.0/16"] }
  endpoint = { hostname = "inference.example.org", certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/00000000-0000-0000-0000-000000000000" }
  oidc     = { issuer = "https://id.example.org/realms/hospital", scopes = [] }
  delivery = { repository = "example-hospital/bedside-site" }
  tags     = { CostCentre = "radiology" }
}

run "builds_from_its_values" {
  assert {
    condition     = output.handover.cluster.target == "aws" && output.handover.settings.BEDSIDE_ENV == "production"
    error_message = "Handover."
  }

  assert {
    condition     = output.site.limits.body_bytes == 10000000 && output.site.delivery.mode == "push" && toset(keys(output.site.nodes)) == toset(["system", "cpu", "gpu"])
    error_message = "Site: ${jsonencode(output.site)}"
  }
}

run "refuses_a_zone_as_region" {
  command = plan

  variables {
    region = "eu-central-1a"
  }

  expect_failures = [var.region]
}
