# A site on the hospital's own machines: three servers and a GPU host, and one machine alone.
mock_provider "tls" {
  mock_resource "tls_self_signed_cert" {
    defaults = { cert_pem = "-----BEGIN CERTIFICATE-----\nauthority\n-----END CERTIFICATE-----\n" }
  }
}
mock_provider "random" {
  mock_resource "random_password" {
    defaults = { result = "0123456789abcdef0123456789abcdef0123456789abcdef" }
  }
}
mock_provider "local" {}

variables {
  target         = "onprem"
  name           = "ward"
  environment    = "prod"
  administrators = ["bedside-administrators"]
  node_pools = {
    system = { role = "system", hosts = [{ name = "s1", address = "10.0.0.11" }, { name = "s2", address = "10.0.0.12" }, { name = "s3", address = "10.0.0.13" }] }
    gpu    = { role = "inference", hosts = [{ name = "g1", address = "10.0.0.21" }], gpu = { count = 2 } }
  }
  network  = { cidr = "10.0.0.0/24", internet_egress = false }
  endpoint = { hostname = "inference.hospital.example", vip = "10.0.0.10", api_vip = "10.0.0.9" }
  oidc     = { issuer = "https://id.hospital.example/realms/hospital" }
  registry = { prefix = "oci.hospital.example/bedside" }
  k3s = {
    version    = "v1.35.8+k3s1"
    source     = "https://files.hospital.example/k3s"
    air_gapped = true
    sha256 = {
      "k3s"                             = "0000000000000000000000000000000000000000000000000000000000000001"
      "k3s-airgap-images-amd64.tar.zst" = "0000000000000000000000000000000000000000000000000000000000000002"
    }
  }
}

run "large_inputs_go_to_the_hospitals_own_store" {
  command = plan

  variables {
    storage = { object_endpoint = "https://s3.hospital.example", object_cidrs = ["10.0.0.20/32"] }
  }

  assert {
    condition     = jsondecode(output.settings.BEDSIDE_REFERENCES__BUCKETS)[output.settings.BEDSIDE_REFERENCES__UPLOADS] == { url = "s3://ward-prod-uploads", endpoint = "https://s3.hospital.example" }
    error_message = "Settings: ${jsonencode(output.settings)}"
  }
  assert {
    condition     = output.artifacts.cidrs == tolist(["10.0.0.20/32"])
    error_message = "Pods are let out to the store's address."
  }
}

run "makes_one_seed_per_machine" {
  assert {
    condition     = toset(keys(output.nodes)) == toset(["s1", "s2", "s3", "g1"])
    error_message = "Seeds: ${join(", ", keys(output.nodes))}"
  }
  assert {
    condition     = [for name in ["s1", "s2", "s3", "g1"] : local.hosts[name].role] == ["init", "server", "server", "agent"]
    error_message = "One server begins the cluster, the others join, inference hosts are agents."
  }
  assert {
    condition     = contains(yamldecode(module.render["g1"].files["/etc/rancher/k3s/config.yaml"].content)["node-taint"], "nvidia.com/gpu=present:NoSchedule")
    error_message = "The GPU host is tainted."
  }
  assert {
    condition     = contains(yamldecode(module.render["s1"].files["/etc/rancher/k3s/config.yaml"].content)["tls-san"], "10.0.0.9")
    error_message = "The API's certificate names the virtual address."
  }
  assert {
    condition     = strcontains(module.render["s2"].files["/var/lib/rancher/k3s/server/manifests/kube-vip.yaml"].content, "10.0.0.9")
    error_message = "Every server announces the virtual address."
  }
  assert {
    condition     = alltrue([for name in ["s2", "s3", "g1"] : !strcontains(module.render[name].user_data, base64encode(module.pki.files["server-ca.key"]))])
    error_message = "The authority's key travels to the first server only."
  }
}

run "every_machine_takes_images_from_the_sites_registry" {
  assert {
    condition     = alltrue([for node in module.render : yamldecode(node.files["/etc/rancher/k3s/registries.yaml"].content).mirrors["*"].endpoint == ["https://oci.hospital.example"]])
    error_message = "A machine would pull from the internet."
  }
}

run "nothing_reaches_in" {
  assert {
    condition     = output.delivery.mode == "pull" && output.delivery.deploy_role_arn == null
    error_message = "On-premises the cluster pulls."
  }
  assert {
    condition     = output.cluster.endpoint == "https://10.0.0.9:6443"
    error_message = "The API is at the virtual address."
  }
}

run "one_machine_alone" {
  variables {
    node_pools = { system = { role = "system", hosts = [{ name = "s1", address = "10.0.0.11" }] } }
    endpoint   = { hostname = "inference.hospital.example" }
  }

  assert {
    condition     = output.cluster.endpoint == "https://10.0.0.11:6443" && !contains(keys(module.render["s1"].files), "/var/lib/rancher/k3s/server/manifests/kube-vip.yaml")
    error_message = "One server is its own address."
  }
}

run "refuses_values_for_the_other_target" {
  command = plan

  variables {
    target         = "aws"
    administrators = ["arn:aws:iam::111122223333:role/administrators"]
    network        = { cidr = "10.20.0.0/16" }
    endpoint       = { hostname = "inference.example.org", certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/1", vip = "10.0.0.10", api_vip = "10.0.0.9" }
    node_pools     = { system = { role = "system", instance_types = ["m7i.large"], hosts = [{ name = "s1", address = "10.0.0.11" }] } }
  }

  expect_failures = [terraform_data.target]
}
