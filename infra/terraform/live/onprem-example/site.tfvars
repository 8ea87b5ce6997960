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
storage  = { class = "replicated", object_endpoint = "https://s3.hospital.example", object_cidrs = ["10.30.0.20/32"] }

k3s = {
  version = "v1.35.8+k3s1"
  source  = "https://files.hospital.example/k3s/v1.35.8"
  sha256 = { # sha256sum of the files; these are placeholders
    "k3s"                 = "0000000000000000000000000000000000000000000000000000000000000001"
    "longhorn-1.11.1.tgz" = "0000000000000000000000000000000000000000000000000000000000000002"
  }
}
