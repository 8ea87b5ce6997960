# The example with the values of site.tfvars: one machine, nothing from outside.
mock_provider "tls" {}
mock_provider "random" {
  mock_resource "random_password" {
    defaults = { result = "0123456789abcdef0123456789abcdef0123456789abcdef" }
  }
}
mock_provider "local" {}

run "builds_from_its_values" {
  assert {
    condition     = output.handover.cluster.target == "onprem" && output.handover.settings.BEDSIDE_ENV == "production"
    error_message = "Handover."
  }

  assert {
    condition     = keys(output.site.nodes) == ["s1"] && output.handover.storage.class_name == "local-path" && output.handover.api.endpoint == "https://10.40.0.11:6443"
    error_message = "Site: ${jsonencode(output.site)}"
  }
}
