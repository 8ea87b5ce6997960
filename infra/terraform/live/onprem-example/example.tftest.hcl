# The example with the values of site.tfvars: three servers and a GPU host.
mock_provider "tls" {}
mock_provider "random" {
  mock_resource "random_password" {
    defaults = { result = "0123456789abcdef0123456789abcdef0123456789abcdef" }
  }
}
mock_provider "local" {}

variables {
  name           = "radiology"
  environment    = "prod"
  administrators = ["bedside-administrators"]

  node_pools = {
    system = {
      role  = "system"
      hosts = [{ name = "s1", address = "10.30.0.11" }, { name = "s2", address = "10.30.0.12" }, { name = "s3", address = "10.30.0.13" }]
    }
    gpu = { role = "inference", hosts = [{ name = "g1", address = "10.30.0.21" }], gpu = {} }
  }

  network  = { cidr = "10.30.0.0/24" }
  endpoint = { hostname = "inference.hospital.example", vip = "10.30.0.10", api_vip = "10.30.0.9" }
  oidc     = { issuer = "https://id.hospital.example/realms/hospital" }
  registry = { prefix = "oci.hospital.example/bedside" }
  storage  = { class = "replicated", object_endpoint = "https://s3.hospital.example" }

  k3s = {
    version = "v1.35.8+k3s1"
    source  = "https://files.hospital.example/k3s/v1.35.8"
    sha256 = {
      "k3s"                 = "0000000000000000000000000000000000000000000000000000000000000001"
      "longhorn-1.11.1.tgz" = "0000000000000000000000000000000000000000000000000000000000000002"
    }
  }
}

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
