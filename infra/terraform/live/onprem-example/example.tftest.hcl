# The example with the values of site.tfvars: three servers and a GPU host.
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
    condition     = toset(keys(output.site.nodes)) == toset(["s1", "s2", "s3", "g1"]) && output.handover.storage.class_name == "longhorn"
    error_message = "Site: ${jsonencode(output.site)}"
  }
}
