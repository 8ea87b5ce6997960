# What a cluster gets, on AWS and on-premises: the same but for an enumerated few.
mock_provider "helm" {}
mock_provider "kubernetes" {}

variables {
  cluster  = { name = "ward-prod", target = "onprem", version = "1.35" }
  gateway  = { hostname = "inference.hospital.example", address = "10.0.0.10" }
  settings = { BEDSIDE_LIMITS__BODY_BYTES = "536870912", BEDSIDE_AUTH__ISSUER = "https://id.hospital.example" }
  registry = { prefix = "oci.hospital.example/bedside" }
  storage  = { class_name = "longhorn" }
  release  = { digest = "sha256:0000000000000000000000000000000000000000000000000000000000000001", path = "./deploy/k8s/overlays/onprem" }
}

run "every_namespace_is_restricted" {
  command = plan

  assert {
    condition = alltrue([for name, namespace in kubernetes_namespace_v1.this :
    alltrue([for mode in ["enforce", "audit", "warn"] : namespace.metadata[0].labels["pod-security.kubernetes.io/${mode}"] == "restricted"])])
    error_message = "A namespace lets pods do more than the restricted standard."
  }
  assert {
    condition     = contains(keys(kubernetes_namespace_v1.this), "bedside")
    error_message = "The service's namespace is missing."
  }
}

run "gpus_need_one_privileged_namespace" {
  command = plan

  variables {
    gpu = true
  }

  assert {
    condition = [for name, namespace in kubernetes_namespace_v1.this :
    name if namespace.metadata[0].labels["pod-security.kubernetes.io/enforce"] != "restricted"] == ["gpu-operator"]
    error_message = "Only the device plugin may be privileged."
  }
}

run "charts_are_pinned_and_come_from_the_mirror" {
  command = plan

  variables {
    chart_mirror   = "oci://oci.hospital.example/bedside/charts"
    chart_versions = { keda = "2.21.0" }
  }

  assert {
    condition     = alltrue([for release in helm_release.this : release.repository == "oci://oci.hospital.example/bedside/charts"])
    error_message = "A chart would come from the internet."
  }
  assert {
    condition     = alltrue([for release in helm_release.this : can(regex("^v?[0-9]+\\.[0-9]+\\.[0-9]+", release.version))]) && helm_release.this["keda"].version == "2.21.0"
    error_message = "A chart is not pinned."
  }
  assert {
    condition     = alltrue([for release in helm_release.this : release.atomic && release.wait])
    error_message = "A failed chart must be rolled back."
  }
}

run "limits_reach_the_service" {
  command = plan

  assert {
    condition     = kubernetes_config_map_v1.settings.data == tomap({ BEDSIDE_LIMITS__BODY_BYTES = "536870912", BEDSIDE_AUTH__ISSUER = "https://id.hospital.example" })
    error_message = "The service is not told."
  }
  assert {
    condition     = kubernetes_config_map_v1.settings.metadata[0].name == "bedside-target" && kubernetes_config_map_v1.settings.metadata[0].namespace == "bedside"
    error_message = "deploy/k8s/base reads the settings from there."
  }
}

run "the_manifests_own_annotations_stay" {
  command = plan

  assert {
    condition = [for manifest in yamldecode(helm_release.site.values[0]).manifests :
    one(yamldecode(manifest.spec.patches[0].patch)).path if manifest.kind == "Kustomization"] == ["/spec/template/metadata/annotations/bedside.dev~1target-settings"]
    error_message = "One key is added; annotations as a whole would be replaced."
  }
  assert {
    condition = [for manifest in yamldecode(helm_release.site.values[0]).manifests :
    yamldecode(manifest.spec.patches[1].patch).metadata.annotations if manifest.kind == "Kustomization"] == [{ "kustomize.toolkit.fluxcd.io/prune" = "disabled" }]
    error_message = "The namespace must outlive the release, and its annotations are merged."
  }
}

run "without_a_store_pods_are_let_out_to_none" {
  command = plan

  assert {
    condition     = !contains(output.manifests, "NetworkPolicy/bedside-to-store")
    error_message = "A hole for nothing."
  }
}

run "on_premises_pods_are_let_out_to_the_store_alone" {
  command = plan

  variables {
    artifacts = { endpoint = "https://s3.hospital.example:9000", cidrs = ["10.0.0.20/32"] }
  }

  assert {
    condition = [for manifest in yamldecode(helm_release.site.values[0]).manifests :
      [manifest.spec.podSelector.matchLabels["app.kubernetes.io/component"], manifest.spec.policyTypes, manifest.spec.egress] if manifest.kind == "NetworkPolicy"
    ] == [["server", ["Egress"], [{ to = [{ ipBlock = { cidr = "10.0.0.20/32" } }], ports = [{ port = 9000, protocol = "TCP" }] }]]]
    error_message = "The store's address and port, and nothing else."
  }
}

run "only_signed_releases_are_brought_up" {
  command = plan

  assert {
    condition = [for manifest in yamldecode(helm_release.site.values[0]).manifests :
      [manifest.spec.url, manifest.spec.verify.provider, manifest.spec.ref.digest] if manifest.kind == "OCIRepository"
    ] == [["oci://oci.hospital.example/bedside/manifests", "cosign", var.release.digest]]
    error_message = "A release must be signed, and exactly the one that is named."
  }
}

run "on_premises_the_gateway_has_the_sites_address" {
  command = plan

  assert {
    condition = [for manifest in yamldecode(helm_release.site.values[0]).manifests :
      manifest.spec.provider.kubernetes.envoyService if manifest.kind == "EnvoyProxy"
    ] == [{ type = "LoadBalancer", annotations = { "kube-vip.io/loadbalancerIPs" = "10.0.0.10" } }]
    error_message = "The gateway has another address."
  }
  assert {
    condition     = length(kubernetes_storage_class_v1.aws) == 0 && !contains(keys(helm_release.this), "aws-load-balancer") && !anytrue([for name in output.manifests : startswith(name, "TargetGroupBinding")])
    error_message = "AWS's controllers have no business here."
  }
}

run "on_aws_the_balancer_finds_the_gateway" {
  command = plan

  variables {
    cluster   = { name = "ward-prod", target = "aws", version = "1.35" }
    gateway   = { hostname = "inference.example.org", target_group_arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/ward/1" }
    aws       = { region = "eu-central-1", vpc_id = "vpc-1" }
    artifacts = { kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/1", endpoint = "https://s3.eu-central-1.amazonaws.com", cidrs = ["192.0.2.0/24", "198.51.100.0/24"] }
    storage   = { class_name = "gp3-encrypted" }
  }

  assert {
    condition = [for manifest in yamldecode(helm_release.site.values[0]).manifests : manifest.spec.egress if manifest.kind == "NetworkPolicy"] == [[
      { to = [{ ipBlock = { cidr = "192.0.2.0/24" } }, { ipBlock = { cidr = "198.51.100.0/24" } }], ports = [{ port = 443, protocol = "TCP" }] },
      { to = [{ ipBlock = { cidr = "169.254.170.23/32" } }], ports = [{ port = 80, protocol = "TCP" }] },
    ]]
    error_message = "Pods reach S3, and the agent that gives them the right to, and nothing else."
  }
  assert {
    condition     = kubernetes_config_map_v1.settings.data["AWS_DEFAULT_REGION"] == "eu-central-1"
    error_message = "Addresses would be signed for another region."
  }

  assert {
    condition = [for manifest in yamldecode(helm_release.site.values[0]).manifests :
    manifest.spec.targetGroupARN if manifest.kind == "TargetGroupBinding"] == [var.gateway.target_group_arn]
    error_message = "The load balancer has nobody behind it."
  }
  assert {
    condition = [for manifest in yamldecode(helm_release.site.values[0]).manifests :
    manifest.spec.ports[0].targetPort if manifest.kind == "Service"] == [10443]
    error_message = "The port that modules/aws/edge lets the balancer through to."
  }
  assert {
    condition     = yamldecode(helm_release.this["aws-load-balancer"].values[0]).vpcId == "vpc-1"
    error_message = "With IMDSv2 at one hop the controller cannot find its VPC."
  }
  assert {
    condition     = kubernetes_storage_class_v1.aws[0].parameters.encrypted == "true" && kubernetes_storage_class_v1.aws[0].parameters.kmsKeyId == var.artifacts.kms_key_arn
    error_message = "Volumes must be encrypted with the site's key."
  }
}

run "the_targets_differ_in_these_objects_only" {
  command = plan

  assert {
    condition     = toset(output.manifests) == toset(["EnvoyProxy/edge", "GatewayClass/envoy", "Issuer/self", "Certificate/bedside-authority", "Issuer/bedside", "Certificate/bedside-tls", "OCIRepository/bedside", "Kustomization/bedside"])
    error_message = "On-premises: ${join(", ", output.manifests)}. AWS adds Service/envoy-bedside, TargetGroupBinding/bedside, ClusterSecretStore/site, and a site with an object store NetworkPolicy/bedside-to-store."
  }
}

run "refuses_unknown_target" {
  command = plan

  variables {
    cluster = { name = "w", target = "azure", version = "1.35" }
  }

  expect_failures = [var.cluster]
}

run "refuses_balancer_without_target_group" {
  command = plan

  variables {
    cluster   = { name = "w", target = "aws", version = "1.35" }
    artifacts = { kms_key_arn = "arn:aws:kms:x:1:key/1" }
    aws       = { region = "eu-central-1", vpc_id = "vpc-1" }
  }

  expect_failures = [var.gateway]
}

run "refuses_secret_among_the_settings" {
  command = plan

  variables {
    settings = { BEDSIDE_KAFKA__PASSWORD = "x" }
  }

  expect_failures = [var.settings]
}

run "refuses_registry_with_a_scheme" {
  command = plan

  variables {
    registry = { prefix = "https://oci.example" }
  }

  expect_failures = [var.registry]
}

run "refuses_no_storage_class" {
  command = plan

  variables {
    storage = { class_name = "" }
  }

  expect_failures = [var.storage]
}

run "refuses_volumes_without_key_on_aws" {
  command = plan

  variables {
    cluster = { name = "w", target = "aws", version = "1.35" }
    gateway = { hostname = "x.example", target_group_arn = "arn:aws:elasticloadbalancing:x:1:targetgroup/a/1" }
    aws     = { region = "eu-central-1", vpc_id = "vpc-1" }
  }

  expect_failures = [var.artifacts]
}

run "refuses_store_that_is_everywhere" {
  command = plan

  variables {
    artifacts = { endpoint = "https://s3.hospital.example", cidrs = ["0.0.0.0/0"] }
  }

  expect_failures = [var.artifacts]
}

run "refuses_aws_without_region" {
  command = plan

  variables {
    cluster   = { name = "w", target = "aws", version = "1.35" }
    gateway   = { hostname = "x.example", target_group_arn = "arn:aws:elasticloadbalancing:x:1:targetgroup/a/1" }
    artifacts = { kms_key_arn = "arn:aws:kms:x:1:key/1" }
  }

  expect_failures = [var.aws]
}

run "refuses_mirror_that_is_no_oci" {
  command = plan

  variables {
    chart_mirror = "https://charts.example"
  }

  expect_failures = [var.chart_mirror]
}

run "refuses_floating_chart" {
  command = plan

  variables {
    chart_versions = { keda = "^2.0" }
  }

  expect_failures = [var.chart_versions]
}

run "refuses_vault_without_tls" {
  command = plan

  variables {
    vault = { server = "http://vault.example", path = "kv", role = "r" }
  }

  expect_failures = [var.vault]
}

run "refuses_release_without_version" {
  command = plan

  variables {
    release = { path = "./x" }
  }

  expect_failures = [var.release]
}

run "takes_the_key_that_releases_are_signed_with" {
  command = plan

  variables {
    release = { semver = "1.0.0", path = "./x", public_key = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n" }
  }

  assert {
    condition     = kubernetes_secret_v1.cosign[0].metadata[0].name == "bedside-cosign" && kubernetes_secret_v1.cosign[0].metadata[0].namespace == "flux-system" && one(keys(nonsensitive(kubernetes_secret_v1.cosign[0].data))) == "cosign.pub"
    error_message = "Flux looks for a file that ends in .pub, in its own namespace."
  }
}

run "refuses_private_key" {
  command = plan

  variables {
    release = { semver = "1.0.0", path = "./x", public_key = "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----" }
  }

  expect_failures = [var.release]
}

run "refuses_digest_that_is_a_tag" {
  command = plan

  variables {
    release = { digest = "v1", path = "./x" }
  }

  expect_failures = [var.release]
}

run "refuses_overlay_outside_the_artifact" {
  command = plan

  variables {
    release = { digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000", path = "./../x" }
  }

  expect_failures = [var.release]
}
