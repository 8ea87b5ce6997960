# kube-vip's manifest, read back as YAML.
variables {
  api_vip = "10.0.0.9"
}

run "announces_the_address_from_servers_only" {
  command = plan

  assert {
    condition     = { for env in yamldecode(split("---\n", output.manifests["kube-vip.yaml"])[3]).spec.template.spec.containers[0].env : env.name => env.value }.address == "10.0.0.9"
    error_message = "kube-vip announces another address."
  }
  assert {
    condition     = yamldecode(split("---\n", output.manifests["kube-vip.yaml"])[3]).spec.template.spec.nodeSelector == { "node-role.kubernetes.io/control-plane" = "true" }
    error_message = "Only servers have an API to announce."
  }
}

run "holds_two_capabilities_and_no_secrets" {
  command = plan

  assert {
    condition     = yamldecode(split("---\n", output.manifests["kube-vip.yaml"])[3]).spec.template.spec.containers[0].securityContext.capabilities == { drop = ["ALL"], add = ["NET_ADMIN", "NET_RAW"] }
    error_message = "kube-vip needs NET_ADMIN and NET_RAW, and no more."
  }
  assert {
    condition     = alltrue([for rule in yamldecode(split("---\n", output.manifests["kube-vip.yaml"])[1]).rules : !contains(rule.resources, "secrets") && !contains(rule.verbs, "*")])
    error_message = "kube-vip must not read secrets."
  }
}

run "refuses_name_as_address" {
  command = plan

  variables {
    api_vip = "api.hospital.example"
  }

  expect_failures = [var.api_vip]
}

run "refuses_interface_that_cannot_be" {
  command = plan

  variables {
    interface = "eth0; reboot"
  }

  expect_failures = [var.interface]
}

run "refuses_floating_image" {
  command = plan

  variables {
    image = "ghcr.io/kube-vip/kube-vip:latest"
  }

  expect_failures = [var.image]
}
