name           = "theatre"
environment    = "prod"
administrators = ["bedside-administrators"]

# One machine, no network but the ward's, installed from a medium.
node_pools = { system = { role = "system", hosts = [{ name = "s1", address = "10.40.0.11" }] } }
network    = { cidr = "10.40.0.0/24", internet_egress = false }
endpoint   = { hostname = "inference.theatre.example" }
oidc       = { issuer = "https://id.theatre.example/realms/hospital" }
registry   = { prefix = "oci.theatre.example/bedside" }

k3s = {
  version    = "v1.35.8+k3s1"
  source     = "file:///media/bedside"
  air_gapped = true
  sha256 = { # sha256sum of the files; these are placeholders
    "k3s"                             = "0000000000000000000000000000000000000000000000000000000000000001"
    "k3s-airgap-images-amd64.tar.zst" = "0000000000000000000000000000000000000000000000000000000000000002"
    "bedside-images.tar.zst"          = "0000000000000000000000000000000000000000000000000000000000000003"
  }
}
