# Data streams, how long they live, and who may write and read them.
mock_provider "elasticstack" {}
mock_provider "time" {}

variables {
  namespace = "prod"
}

run "events_go_when_their_time_is_over" {
  assert {
    condition     = { for kind, policy in elasticstack_elasticsearch_index_lifecycle.this : kind => policy.delete[0].min_age } == { inference = "90d", audit = "2192d", deploy = "730d" }
    error_message = "Retention."
  }
  assert {
    condition = alltrue([for kind, template in elasticstack_elasticsearch_index_template.this :
    jsondecode(template.template[0].settings)["index.lifecycle.name"] == elasticstack_elasticsearch_index_lifecycle.this[kind].name])
    error_message = "A data stream without its policy grows for ever."
  }
}

run "templates_win_over_the_built_in_one" {
  assert {
    condition     = alltrue([for template in elasticstack_elasticsearch_index_template.this : template.priority > 100 && length(template.data_stream) == 1])
    error_message = "Elasticsearch's own logs-*-* has priority 100."
  }
  assert {
    condition     = output.data_streams == { inference = "logs-bedside.inference-prod", audit = "logs-bedside.audit-prod", deploy = "logs-bedside.deploy-prod" }
    error_message = "Names."
  }
}

run "unlisted_fields_are_not_searchable" {
  assert {
    condition     = alltrue([for template in elasticstack_elasticsearch_component_template.mappings : jsondecode(template.template[0].mappings).properties.inference.dynamic == false])
    error_message = "A field that nobody listed must not be indexed."
  }
  assert {
    condition     = jsondecode(elasticstack_elasticsearch_component_template.mappings["audit"].template[0].mappings).properties.bedside.properties.audit.properties.chain.type == "keyword"
    error_message = "The audit trail has fields of its own."
  }
}

run "shippers_append_and_read_nothing" {
  assert {
    condition     = jsondecode(elasticstack_elasticsearch_security_api_key.shipper.role_descriptors).shipper.indices[0].privileges == ["create_doc", "auto_configure"]
    error_message = "A shipper must not read, change or delete."
  }
}

run "operators_do_not_read_audit" {
  assert {
    condition     = alltrue([for rule in elasticstack_elasticsearch_security_role.this["operator"].indices : !contains(rule.names, "logs-bedside.audit-prod") && length(setsubtract(rule.privileges, ["read", "view_index_metadata"])) == 0])
    error_message = "Who accessed what is for auditors."
  }
}

run "refuses_namespace_with_a_dash" {
  command = plan

  variables {
    namespace = "prod-eu"
  }

  expect_failures = [var.namespace]
}

run "refuses_audit_of_a_year" {
  command = plan

  variables {
    retention_days = { audit = 365 }
  }

  expect_failures = [var.retention_days]
}

run "refuses_events_of_a_day" {
  command = plan

  variables {
    retention_days = { inference = 1 }
  }

  expect_failures = [var.retention_days]
}

run "refuses_ten_replicas" {
  command = plan

  variables {
    replicas = 10
  }

  expect_failures = [var.replicas]
}

run "refuses_dashboards_that_are_no_ndjson" {
  command = plan

  variables {
    dashboards = "dashboards.json"
  }

  expect_failures = [var.dashboards]
}

run "refuses_space_with_spaces" {
  command = plan

  variables {
    space = "a b"
  }

  expect_failures = [var.space]
}

run "refuses_key_for_ever" {
  command = plan

  variables {
    key_rotation_days = 3650
  }

  expect_failures = [var.key_rotation_days]
}
