# The example with the values of site.tfvars.
mock_provider "elasticstack" {}
mock_provider "time" {}

run "builds_from_its_values" {
  assert {
    condition     = output.data_streams.audit == "logs-bedside.audit-prod"
    error_message = "Data streams: ${jsonencode(output.data_streams)}"
  }
}

run "refuses_elasticsearch_without_tls" {
  command = plan

  variables {
    elasticsearch = ["http://e.example"]
  }

  expect_failures = [var.elasticsearch]
}

run "refuses_kibana_without_tls" {
  command = plan

  variables {
    kibana = "http://k.example"
  }

  expect_failures = [var.kibana]
}

run "refuses_namespace_with_a_dash" {
  command = plan

  variables {
    namespace = "prod-eu"
  }

  expect_failures = [var.namespace]
}

run "refuses_dashboards_that_are_no_ndjson" {
  command = plan

  variables {
    dashboards = "d.json"
  }

  expect_failures = [var.dashboards]
}
