# Values for AWS: what is derived from them, and every value that must be refused.
variables {
  target         = "aws"
  name           = "ward"
  environment    = "prod"
  administrators = ["arn:aws:iam::111122223333:role/administrators"]
  node_pools = {
    system = { role = "system", min = 2, max = 3, instance_types = ["m7i.large"] }
    gpu    = { role = "inference", min = 0, max = 2, instance_types = ["g6.xlarge"], gpu = {}, labels = { modality = "ct" } }
  }
  network  = { cidr = "10.20.0.0/16" }
  endpoint = { hostname = "inference.example.org", certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/1" }
  oidc     = { issuer = "https://id.example.org/realms/hospital" }
}

run "caps_limits_at_what_api_gateway_carries" {
  command = plan

  assert {
    condition     = output.limits.body_bytes == 10000000 && output.limits.request_seconds == 30
    error_message = "The limits on AWS are not API Gateway's: ${jsonencode(output.limits)}"
  }
  assert {
    condition     = output.limits.bulk_lane && output.settings.BEDSIDE_REFERENCES__INPUT_BYTES == "536870912"
    error_message = "Inputs above the edge's limit need a way round, up to what the site asked for: ${jsonencode(output.settings)}"
  }
  assert {
    condition     = output.settings.BEDSIDE_LIMITS__BODY_BYTES == "10000000" && output.settings.BEDSIDE_LIMITS__REQUEST_SECONDS == "29"
    error_message = "The service must give up before the edge does: ${jsonencode(output.settings)}"
  }
  assert {
    condition     = output.settings.BEDSIDE_ENV == "production" && output.protect
    error_message = "prod must run, and be protected, as production."
  }
}

run "keeps_lower_limits" {
  command = plan

  variables {
    limits = { body_bytes = 1048576, request_seconds = 5 }
  }

  assert {
    condition     = output.limits.body_bytes == 1048576 && output.limits.request_seconds == 5
    error_message = "A limit below API Gateway's must stand."
  }
}

run "taints_gpu_nodes_only" {
  command = plan

  assert {
    condition     = output.pools.gpu.taints == tolist([{ key = "nvidia.com/gpu", value = "present", effect = "NoSchedule" }])
    error_message = "GPU nodes must be kept for those who ask for a GPU."
  }
  assert {
    condition     = length(output.pools.system.taints) == 0
    error_message = "The system pool must take anything."
  }
  assert {
    condition     = output.pools.gpu.labels == tomap({ modality = "ct", "bedside.dev/pool" = "gpu", "bedside.dev/role" = "inference", "nvidia.com/gpu.present" = "true" })
    error_message = "Labels: ${jsonencode(output.pools.gpu.labels)}"
  }
}

run "refuses_unknown_target" {
  command = plan

  variables {
    target = "azure"
  }

  expect_failures = [var.target]
}

run "refuses_name_that_begins_with_a_digit" {
  command = plan

  variables {
    name = "4ward"
  }

  expect_failures = [var.name]
}

run "refuses_unknown_environment" {
  command = plan

  variables {
    environment = "production"
  }

  expect_failures = [var.environment]
}

run "refuses_kubernetes_without_image_volumes" {
  command = plan

  variables {
    kubernetes_version = "1.34"
  }

  expect_failures = [var.kubernetes_version]
}

run "refuses_no_administrator" {
  command = plan

  variables {
    administrators = []
  }

  expect_failures = [var.administrators]
}

run "refuses_administrator_that_is_no_role" {
  command = plan

  variables {
    administrators = ["alice"]
  }

  expect_failures = [var.administrators]
}

run "refuses_no_system_pool" {
  command = plan

  variables {
    node_pools = { cpu = { role = "inference", instance_types = ["m7i.large"] } }
  }

  expect_failures = [var.node_pools]
}

run "refuses_unknown_role" {
  command = plan

  variables {
    node_pools = { system = { role = "system", instance_types = ["m7i.large"] }
    x = { role = "training", instance_types = ["m7i.large"] } }
  }

  expect_failures = [var.node_pools]
}

run "refuses_pool_name_with_capitals" {
  command = plan

  variables {
    node_pools = { System = { role = "system", instance_types = ["m7i.large"] } }
  }

  expect_failures = [var.node_pools]
}

run "refuses_min_above_max" {
  command = plan

  variables {
    node_pools = { system = { role = "system", min = 4, max = 3, instance_types = ["m7i.large"] } }
  }

  expect_failures = [var.node_pools]
}

run "refuses_system_pool_of_no_machine" {
  command = plan

  variables {
    node_pools = { system = { role = "system", min = 0, instance_types = ["m7i.large"] } }
  }

  expect_failures = [var.node_pools]
}

run "refuses_disk_too_small" {
  command = plan

  variables {
    node_pools = { system = { role = "system", disk_gib = 20, instance_types = ["m7i.large"] } }
  }

  expect_failures = [var.node_pools]
}

run "refuses_pool_without_instance_types_on_aws" {
  command = plan

  variables {
    node_pools = { system = { role = "system" } }
  }

  expect_failures = [var.node_pools]
}

run "refuses_gpu_in_the_system_pool" {
  command = plan

  variables {
    node_pools = { system = { role = "system", instance_types = ["g6.xlarge"], gpu = {} } }
  }

  expect_failures = [var.node_pools]
}

run "refuses_unknown_taint_effect" {
  command = plan

  variables {
    node_pools = { system = { role = "system", instance_types = ["m7i.large"], taints = [{ key = "a", value = "b", effect = "Never" }] } }
  }

  expect_failures = [var.node_pools]
}

run "refuses_network_that_is_no_network" {
  command = plan

  variables {
    network = { cidr = "10.20.0.0/16", pod_cidr = "10.42.0.0" }
  }

  expect_failures = [var.network]
}

run "refuses_the_whole_internet" {
  command = plan

  variables {
    network = { cidr = "10.20.0.0/16", allowed_cidrs = ["0.0.0.0/0"] }
  }

  expect_failures = [var.network]
}

run "refuses_vpc_too_small" {
  command = plan

  variables {
    network = { cidr = "10.20.0.0/24" }
  }

  expect_failures = [var.network]
}

run "refuses_hostname_that_is_a_url" {
  command = plan

  variables {
    endpoint = { hostname = "https://x.example.org", certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/1" }
  }

  expect_failures = [var.endpoint]
}

run "refuses_no_certificate_on_aws" {
  command = plan

  variables {
    endpoint = { hostname = "inference.example.org" }
  }

  expect_failures = [var.endpoint]
}

run "refuses_issuer_without_tls" {
  command = plan

  variables {
    oidc = { issuer = "http://id.example.org" }
  }

  expect_failures = [var.oidc]
}

run "refuses_empty_audience" {
  command = plan

  variables {
    oidc = { issuer = "https://id.example.org", audience = "" }
  }

  expect_failures = [var.oidc]
}

run "refuses_limits_of_nothing" {
  command = plan

  variables {
    limits = { body_bytes = 0 }
  }

  expect_failures = [var.limits]
}

run "refuses_burst_below_the_rate" {
  command = plan

  variables {
    limits = { requests_per_second = 10, burst = 5 }
  }

  expect_failures = [var.limits]
}

run "refuses_registry_with_a_scheme" {
  command = plan

  variables {
    registry = { prefix = "https://oci.example.org" }
  }

  expect_failures = [var.registry]
}

run "refuses_certificate_that_is_none" {
  command = plan

  variables {
    registry = { prefix = "oci.example.org", ca_certificate = "/etc/ca.pem" }
  }

  expect_failures = [var.registry]
}

run "refuses_unknown_storage_class" {
  command = plan

  variables {
    storage = { class = "nfs" }
  }

  expect_failures = [var.storage]
}

run "refuses_object_store_without_tls" {
  command = plan

  variables {
    storage = { object_endpoint = "http://s3.example.org", object_cidrs = ["10.0.0.20/32"] }
  }

  expect_failures = [var.storage]
}

run "refuses_object_store_that_is_nowhere" {
  command = plan

  variables {
    storage = { object_endpoint = "https://s3.example.org" }
  }

  expect_failures = [var.storage]
}

run "refuses_object_store_that_is_everywhere" {
  command = plan

  variables {
    storage = { object_endpoint = "https://s3.example.org", object_cidrs = ["0.0.0.0/0"] }
  }

  expect_failures = [var.storage]
}

run "refuses_uploads_kept_for_a_year" {
  command = plan

  variables {
    storage = { upload_days = 365 }
  }

  expect_failures = [var.storage]
}

run "refuses_wildcard_repository" {
  command = plan

  variables {
    delivery = { repository = "hospital/*" }
  }

  expect_failures = [var.delivery]
}

run "refuses_retention_that_cloudwatch_does_not_know" {
  command = plan

  variables {
    log_retention_days = 100
  }

  expect_failures = [var.log_retention_days]
}

run "refuses_reserved_tags" {
  command = plan

  variables {
    tags = { Environment = "other" }
  }

  expect_failures = [var.tags]
}

run "refuses_roles_that_make_roles_without_boundary" {
  command = plan

  variables {
    delivery = { repository = "hospital/site", state = { bucket_arn = "arn:aws:s3:::state", kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/1" } }
  }

  expect_failures = [var.delivery]
}
