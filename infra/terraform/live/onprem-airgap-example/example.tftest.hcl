# The example with the values of site.tfvars: one machine, nothing from outside.
mock_provider "tls" {}
mock_provider "random" {
  mock_resource "random_password" {
    defaults = { result = "0123456789abcdef0123456789abcdef0123456789abcdef" }
  }
}
mock_provider "local" {}

variables {
  name           = "theatre"
  environment    = "prod"
  administrators = ["bedside-administrators"]


  node_pools = { system = { role = "system", hosts = [{ name = "s1", address = "10.40.0.11" }] } }
  network    = { cidr = "10.40.0.0/24", internet_egress = false }
  endpoint   = { hostname = "inference.theatre.example" }
  oidc       = { issuer = "https://id.theatre.example/realms/hospital" }
  registry   = { prefix = "oci.theatre.example/bedside" }

  k3s = {
    version    = "v1.35.8+k3s1"
    source     = "file:///media/bedside"
    air_gapped = true
    sha256 = {
      "k3s"                             = "0000000000000000000000000000000000000000000000000000000000000001"
      "k3s-airgap-images-amd64.tar.zst" = "0000000000000000000000000000000000000000000000000000000000000002"
      "bedside-images.tar.zst"          = "0000000000000000000000000000000000000000000000000000000000000003"
    }
  }
}

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
