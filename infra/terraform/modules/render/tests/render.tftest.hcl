# What a machine is set up with: cloud-init and what lies inside it, read back as YAML.
variables {
  node = {
    name    = "g1"
    address = "10.0.0.21"
    role    = "agent"
    labels  = { "bedside.dev/pool" = "gpu" }
    taints  = [{ key = "nvidia.com/gpu", value = "present", effect = "NoSchedule" }]
  }
  cluster = {
    name           = "ward-prod"
    join_address   = "10.0.0.10"
    tls_sans       = ["10.0.0.10", "inference.hospital.example"]
    pod_cidr       = "10.42.0.0/16"
    service_cidr   = "10.43.0.0/16"
    servers        = 3
    oidc_issuer    = "https://id.hospital.example/realms/hospital"
    oidc_audience  = "bedside"
    administrators = ["bedside-administrators"]
  }
  tokens = {
    server = "K100000000000000000000000000000000000000000000000000000000000000001::server:ssssssssssssssssssssssssssssssss"
    agent  = "K100000000000000000000000000000000000000000000000000000000000000001::node:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
  }
  authorities = { "server-ca.key" = "KEY", "etcd/peer-ca.crt" = "CERTIFICATE" }
  install = {
    version = "v1.35.8+k3s1"
    source  = "file:///media/bedside"
    sha256 = {
      "k3s"                             = "0000000000000000000000000000000000000000000000000000000000000001"
      "k3s-airgap-images-amd64.tar.zst" = "0000000000000000000000000000000000000000000000000000000000000002"
      "longhorn-1.12.0.tgz"             = "0000000000000000000000000000000000000000000000000000000000000003"
    }
  }
  registry  = { host = "oci.hospital.example", path = "bedside", ca_certificate = "-----BEGIN CERTIFICATE-----" }
  manifests = { "kube-vip.yaml" = "kind: DaemonSet\n" }
}

run "agent_joins_with_the_agent_token_alone" {
  command = plan

  assert {
    condition     = startswith(output.user_data, "#cloud-config\n")
    error_message = "cloud-init takes the file for a script without its first line."
  }
  assert {
    condition     = { for file in yamldecode(output.user_data).write_files : file.path => base64decode(file.content) }["/etc/rancher/k3s/config.yaml"] == output.files["/etc/rancher/k3s/config.yaml"].content
    error_message = "write_files must carry the files."
  }
  assert {
    condition     = yamldecode(output.files["/etc/rancher/k3s/config.yaml"].content).token == var.tokens.agent
    error_message = "An agent joins with the agent's token."
  }
  assert {
    condition     = !strcontains(output.user_data, base64encode("ssss")) && alltrue([for file in values(output.files) : !strcontains(file.content, "::server:")])
    error_message = "An agent must not hold the server token."
  }
  assert {
    condition     = yamldecode(output.files["/etc/rancher/k3s/config.yaml"].content).server == "https://10.0.0.10:6443"
    error_message = "Nodes join at the virtual address."
  }
  assert {
    condition     = yamldecode(output.files["/etc/rancher/k3s/config.yaml"].content)["node-taint"] == ["nvidia.com/gpu=present:NoSchedule"]
    error_message = "GPU nodes are tainted before the first pod lands on them."
  }
  assert {
    condition     = alltrue([for path in keys(output.files) : !strcontains(path, "/server/")])
    error_message = "Authorities and manifests belong to servers."
  }
}

run "first_server_is_hardened" {
  command = plan

  variables {
    node = { name = "s1", address = "10.0.0.11", role = "init" }
  }

  assert {
    condition     = yamldecode(output.files["/etc/rancher/k3s/config.yaml"].content)["cluster-init"] && yamldecode(output.files["/etc/rancher/k3s/config.yaml"].content)["secrets-encryption"] && yamldecode(output.files["/etc/rancher/k3s/config.yaml"].content)["protect-kernel-defaults"]
    error_message = "The first server starts etcd, encrypts secrets and insists on kernel defaults."
  }
  assert {
    condition = alltrue([for flag in [
      "anonymous-auth=false", "audit-log-path=/var/log/k3s/audit.log", "audit-log-maxage=2192", "audit-policy-file=/etc/rancher/k3s/audit-policy.yaml",
      "admission-control-config-file=/etc/rancher/k3s/admission.yaml", "oidc-issuer-url=https://id.hospital.example/realms/hospital",
    ] : contains(yamldecode(output.files["/etc/rancher/k3s/config.yaml"].content)["kube-apiserver-arg"], flag)])
    error_message = "A hardening flag of the API server is missing."
  }
  assert {
    condition     = yamldecode(output.files["/etc/rancher/k3s/admission.yaml"].content).plugins[0].configuration.defaults.enforce == "restricted"
    error_message = "Pods are restricted unless their namespace says otherwise."
  }
  assert {
    condition = alltrue([for rule in yamldecode(output.files["/etc/rancher/k3s/audit-policy.yaml"].content).rules :
    rule.level == "Metadata" if anytrue([for resource in try(rule.resources, []) : contains(resource.resources, "secrets")])])
    error_message = "The content of secrets must not reach the audit log."
  }
  assert {
    condition     = output.files["/var/lib/rancher/k3s/server/tls/etcd/peer-ca.crt"] == { content = "CERTIFICATE", permissions = "0600" }
    error_message = "The first server gets the authorities, readable by root alone."
  }
  assert {
    condition     = output.files["/var/lib/rancher/k3s/server/manifests/kube-vip.yaml"].content == "kind: DaemonSet\n"
    error_message = "Servers apply the manifests."
  }
  assert {
    condition     = yamldecode(output.files["/var/lib/rancher/k3s/server/manifests/administrators.yaml"].content).subjects[0].name == "oidc:bedside-administrators"
    error_message = "Administrators come in by the issuer's group."
  }
  assert {
    condition     = yamldecode(output.files["/etc/rancher/k3s/config.yaml"].content)["disable"] == ["traefik", "servicelb"]
    error_message = "With several servers kube-vip gives addresses out, not ServiceLB."
  }
  assert {
    condition     = yamldecode(output.user_data).users == [{ name = "root", lock_passwd = true }] && !yamldecode(output.user_data).ssh_pwauth
    error_message = "Nobody logs in by SSH."
  }
}

run "second_server_joins_without_authorities" {
  command = plan

  variables {
    node = { name = "s2", address = "10.0.0.12", role = "server" }
  }

  assert {
    condition     = !contains(keys(yamldecode(output.files["/etc/rancher/k3s/config.yaml"].content)), "cluster-init") && yamldecode(output.files["/etc/rancher/k3s/config.yaml"].content).server == "https://10.0.0.10:6443"
    error_message = "A second cluster-init would make a second cluster."
  }
  assert {
    condition     = alltrue([for path in keys(output.files) : !strcontains(path, "/server/tls/")])
    error_message = "Authorities travel once, to the first server."
  }
}

run "single_server_keeps_servicelb" {
  command = plan

  variables {
    node    = { name = "s1", address = "10.0.0.10", role = "init" }
    cluster = { name = "ward-dev", join_address = "10.0.0.10", tls_sans = ["10.0.0.10"], pod_cidr = "10.42.0.0/16", service_cidr = "10.43.0.0/16", servers = 1, oidc_issuer = "https://id.example", oidc_audience = "bedside", administrators = [] }
  }

  assert {
    condition     = yamldecode(output.files["/etc/rancher/k3s/config.yaml"].content)["disable"] == ["traefik"]
    error_message = "A single server has no virtual address."
  }
}

run "every_image_comes_through_the_mirror" {
  command = plan

  assert {
    condition     = yamldecode(output.files["/etc/rancher/k3s/registries.yaml"].content).mirrors["*"] == { endpoint = ["https://oci.hospital.example"], rewrite = { "^(.*)$" = "bedside/$1" } }
    error_message = "registries.yaml lets images past the mirror."
  }
  assert {
    condition     = yamldecode(output.files["/etc/rancher/k3s/config.yaml"].content)["disable-default-registry-endpoint"]
    error_message = "containerd must not turn to the image's own host."
  }
  assert {
    condition     = yamldecode(output.files["/etc/rancher/k3s/registries.yaml"].content).configs["oci.hospital.example"].tls == { insecure_skip_verify = false, ca_file = "/etc/rancher/k3s/registry-ca.pem" }
    error_message = "The mirror's certificate is checked against the given authority."
  }
}

run "installs_nothing_without_its_checksum" {
  command = plan

  assert {
    condition = alltrue([for name, sum in var.install.sha256 :
    strcontains(output.files["/usr/local/sbin/bedside-k3s-install"].content, "fetch ${name} ${sum} ") || endswith(name, ".tgz")])
    error_message = "Each file is fetched with its checksum."
  }
  assert {
    condition     = yamldecode(output.user_data).runcmd == ["sysctl --system && /usr/local/sbin/bedside-k3s-install && systemctl daemon-reload && systemctl enable --now k3s.service"]
    error_message = "k3s must not start after a file was refused."
  }
  assert {
    condition     = !strcontains(output.files["/usr/local/sbin/bedside-k3s-install"].content, "longhorn")
    error_message = "Charts are the servers'."
  }
}

run "a_change_makes_a_new_instance" {
  command = plan

  variables {
    audit_retention_days = 365
    node                 = { name = "s1", address = "10.0.0.11", role = "init" }
  }

  assert {
    condition     = yamldecode(output.meta_data)["instance-id"] == "s1-${substr(sha256(output.user_data), 0, 12)}"
    error_message = "cloud-init runs once per instance-id, which must follow the user data."
  }
}

run "refuses_unknown_role" {
  command = plan

  variables {
    node = { name = "x", address = "10.0.0.1", role = "master" }
  }

  expect_failures = [var.node]
}

run "refuses_two_servers" {
  command = plan

  variables {
    cluster = { name = "w", join_address = "10.0.0.10", tls_sans = ["10.0.0.10"], pod_cidr = "10.42.0.0/16", service_cidr = "10.43.0.0/16", servers = 2, oidc_issuer = "https://id.example", oidc_audience = "bedside", administrators = [] }
  }

  expect_failures = [var.cluster]
}

run "refuses_join_address_outside_the_certificate" {
  command = plan

  variables {
    cluster = { name = "w", join_address = "10.0.0.10", tls_sans = ["10.0.0.11"], pod_cidr = "10.42.0.0/16", service_cidr = "10.43.0.0/16", servers = 1, oidc_issuer = "https://id.example", oidc_audience = "bedside", administrators = [] }
  }

  expect_failures = [var.cluster]
}

run "refuses_token_without_the_authoritys_hash" {
  command = plan

  variables {
    tokens = { server = "secret", agent = "secret" }
  }

  expect_failures = [var.tokens]
}

run "refuses_authority_outside_its_folder" {
  command = plan

  variables {
    authorities = { "../../etc/passwd" = "x" }
  }

  expect_failures = [var.authorities]
}

run "refuses_binary_without_checksum" {
  command = plan

  variables {
    install = { version = "v1.35.8+k3s1", source = "file:///media", sha256 = { k3s = "x" } }
  }

  expect_failures = [var.install]
}

run "refuses_registry_with_a_path" {
  command = plan

  variables {
    registry = { host = "oci.example/bedside" }
  }

  expect_failures = [var.registry]
}

run "refuses_manifest_outside_its_folder" {
  command = plan

  variables {
    manifests = { "../x.yaml" = "x" }
  }

  expect_failures = [var.manifests]
}

run "refuses_audit_logs_of_a_week" {
  command = plan

  variables {
    audit_retention_days = 7
  }

  expect_failures = [var.audit_retention_days]
}
