# The same for values on-premises.
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

run "keeps_the_sites_own_limits" {
  command = plan

  assert {
    condition     = output.limits.body_bytes == 536870912 && output.limits.request_seconds == 60 && !output.limits.bulk_lane
    error_message = "No API Gateway, no cap: ${jsonencode(output.limits)}"
  }
}

run "accepts_no_work_that_a_replica_would_not_finish" {
  command = plan

  variables {
    limits = { request_seconds = 61 }
  }

  expect_failures = [var.limits]
}

run "refuses_karpenter_without_aws" {
  command = plan

  variables {
    karpenter = true
  }

  expect_failures = [var.karpenter]
}

run "names_no_bucket_without_an_object_store" {
  command = plan

  assert {
    condition     = !anytrue([for name in keys(output.settings) : startswith(name, "BEDSIDE_REFERENCES__")])
    error_message = "The service would look for a bucket that is not there, and refuse to start: ${jsonencode(output.settings)}"
  }
}

run "has_a_bulk_lane_with_an_object_store" {
  command = plan

  variables {
    storage = { object_endpoint = "https://s3.hospital.example", object_cidrs = ["10.0.0.20/32"] }
  }

  assert {
    condition     = output.limits.bulk_lane && output.settings.BEDSIDE_REFERENCES__UPLOADS == "uploads"
    error_message = "With an object store, large inputs have a way round."
  }
}

run "refuses_pool_without_hosts" {
  command = plan

  variables {
    node_pools = { system = { role = "system" } }
  }

  expect_failures = [var.node_pools]
}

run "refuses_even_number_of_servers" {
  command = plan

  variables {
    node_pools = { system = { role = "system", hosts = [{ name = "s1", address = "10.0.0.11" }, { name = "s2", address = "10.0.0.12" }] } }
  }

  expect_failures = [var.node_pools]
}

run "refuses_host_name_that_is_no_label" {
  command = plan

  variables {
    node_pools = { system = { role = "system", hosts = [{ name = "s1.example", address = "10.0.0.11" }] } }
  }

  expect_failures = [var.node_pools]
}

run "refuses_address_with_a_prefix_length" {
  command = plan

  variables {
    node_pools = { system = { role = "system", hosts = [{ name = "s1", address = "10.0.0.11/24" }] } }
  }

  expect_failures = [var.node_pools]
}

run "refuses_two_hosts_of_one_address" {
  command = plan

  variables {
    node_pools = {
      system = { role = "system", hosts = [{ name = "s1", address = "10.0.0.11" }] }
      gpu    = { role = "inference", hosts = [{ name = "g1", address = "10.0.0.11" }] }
    }
  }

  expect_failures = [var.node_pools]
}

run "refuses_vip_that_is_no_address" {
  command = plan

  variables {
    endpoint = { hostname = "inference.hospital.example", vip = "vip.hospital.example", api_vip = "10.0.0.9" }
  }

  expect_failures = [var.endpoint]
}

run "refuses_several_servers_without_vip" {
  command = plan

  variables {
    endpoint = { hostname = "inference.hospital.example" }
  }

  expect_failures = [var.endpoint]
}

run "refuses_no_registry_on_premises" {
  command = plan

  variables {
    registry = {}
  }

  expect_failures = [var.registry]
}

run "refuses_no_k3s_on_premises" {
  command = plan

  variables {
    k3s = null
  }

  expect_failures = [var.k3s]
}

run "refuses_k3s_channel_instead_of_release" {
  command = plan

  variables {
    k3s = {
      version    = "stable"
      source     = "https://files.hospital.example/k3s"
      air_gapped = true
      sha256     = { "k3s" = "0000000000000000000000000000000000000000000000000000000000000000", "i.tar.zst" = "1111111111111111111111111111111111111111111111111111111111111111" }
    }
  }

  expect_failures = [var.k3s]
}

run "refuses_k3s_of_another_minor_version" {
  command = plan

  variables {
    k3s = {
      version    = "v1.36.4+k3s1"
      source     = "https://files.hospital.example/k3s"
      air_gapped = true
      sha256     = { "k3s" = "0000000000000000000000000000000000000000000000000000000000000000", "i.tar.zst" = "1111111111111111111111111111111111111111111111111111111111111111" }
    }
  }

  expect_failures = [var.k3s]
}

run "refuses_source_without_tls" {
  command = plan

  variables {
    k3s = {
      version    = "v1.35.8+k3s1"
      source     = "http://files.hospital.example/k3s"
      air_gapped = true
      sha256     = { "k3s" = "0000000000000000000000000000000000000000000000000000000000000000", "i.tar.zst" = "1111111111111111111111111111111111111111111111111111111111111111" }
    }
  }

  expect_failures = [var.k3s]
}

run "refuses_binary_without_checksum" {
  command = plan

  variables {
    k3s = {
      version    = "v1.35.8+k3s1"
      source     = "https://files.hospital.example/k3s"
      air_gapped = true
      sha256     = { "i.tar.zst" = "1111111111111111111111111111111111111111111111111111111111111111" }
    }
  }

  expect_failures = [var.k3s]
}

run "refuses_checksum_of_the_wrong_length" {
  command = plan

  variables {
    k3s = {
      version    = "v1.35.8+k3s1"
      source     = "https://files.hospital.example/k3s"
      air_gapped = true
      sha256     = { "k3s" = "abc", "i.tar.zst" = "1111111111111111111111111111111111111111111111111111111111111111" }
    }
  }

  expect_failures = [var.k3s]
}

run "refuses_air_gap_without_images" {
  command = plan

  variables {
    k3s = {
      version    = "v1.35.8+k3s1"
      source     = "https://files.hospital.example/k3s"
      air_gapped = true
      sha256     = { "k3s" = "0000000000000000000000000000000000000000000000000000000000000000" }
    }
  }

  expect_failures = [var.k3s]
}

run "refuses_air_gap_with_a_public_source" {
  command = plan

  variables {
    k3s = {
      version    = "v1.35.8+k3s1"
      source     = "https://github.com/k3s-io/k3s/releases/download/v1.35.8"
      air_gapped = true
      sha256     = { "k3s" = "0000000000000000000000000000000000000000000000000000000000000000", "i.tar.zst" = "1111111111111111111111111111111111111111111111111111111111111111" }
    }
  }

  expect_failures = [var.k3s]
}

run "refuses_one_address_for_two" {
  command = plan

  variables {
    endpoint = { hostname = "inference.hospital.example", vip = "10.0.0.10", api_vip = "10.0.0.10" }
  }

  expect_failures = [var.endpoint]
}
