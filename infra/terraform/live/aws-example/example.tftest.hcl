# The example with the values of site.tfvars.
mock_provider "aws" {
  source = "../../tests/mocks/aws"
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

run "leaves_inference_nodes_to_karpenter" {
  variables {
    karpenter = true
  }

  assert {
    condition     = keys(output.site.nodes) == ["system"]
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
