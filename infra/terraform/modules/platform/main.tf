locals {
  aws     = var.cluster.target == "aws"
  service = "bedside"

  # Versions are pinned here and listed with their date in infra/terraform/versions.md.
  charts = {
    cert-manager = {
      namespace = "cert-manager", repository = "oci://quay.io/jetstack/charts", chart = "cert-manager", version = "v1.20.2"
      values    = { crds = { enabled = true, keep = true }, enableCertificateOwnerRef = true }
    }
    external-secrets = {
      namespace = "external-secrets", repository = "https://charts.external-secrets.io", chart = "external-secrets", version = "2.11.0"
      # ServiceAccount name: modules/aws/identity.
      values = { installCRDs = true, serviceAccount = { create = true, name = "external-secrets" } }
    }
    keda = {
      namespace = "keda", repository = "https://kedacore.github.io/charts", chart = "keda", version = "2.20.2"
      values    = {}
    }
    keda-http = {
      namespace = "keda", repository = "https://kedacore.github.io/charts", chart = "keda-add-ons-http", version = "0.16.0"
      values    = { interceptor = { replicas = { min = 2, max = 6 } } }
    }
    envoy-gateway = {
      namespace = "envoy-gateway-system", repository = "oci://docker.io/envoyproxy", chart = "gateway-helm", version = "v1.9.0"
      values    = { deployment = { replicas = 2 } }
    }
    flux = {
      namespace = "flux-system", repository = "oci://ghcr.io/fluxcd-community/charts", chart = "flux2", version = "2.18.2"
      # A cluster that is pulled to needs a source and Kustomize; the rest could only be misused.
      values = {
        helmController         = { create = false }, imageAutomationController = { create = false }, imageReflectionController = { create = false }
        notificationController = { create = false }, policies = { create = false }
      }
    }
  }
  aws_charts = !local.aws ? {} : {
    aws-load-balancer = {
      namespace = "aws-load-balancer", repository = "https://aws.github.io/eks-charts", chart = "aws-load-balancer-controller", version = "3.5.0"
      values = {
        clusterName = var.cluster.name
        region      = var.aws.region
        vpcId       = var.aws.vpc_id
        # Terraform owns the load balancer: of the controller only TargetGroupBinding is used (modules/aws/identity grants no more).
        serviceAccount              = { create = true, name = "aws-load-balancer-controller" }
        enableServiceMutatorWebhook = false
        createIngressClassResource  = false
        ingressClassConfig          = { default = false }
        controllerConfig            = { featureGates = { ServiceTypeLoadBalancerOnly = false, ALBGatewayAPI = false, NLBGatewayAPI = false } }
      }
    }
  }
  gpu_charts = !var.gpu ? {} : {
    nvidia-device-plugin = {
      namespace = "gpu-operator", repository = "https://nvidia.github.io/k8s-device-plugin", chart = "nvidia-device-plugin", version = "0.19.3"
      values = {
        runtimeClassName = local.aws ? null : "nvidia"
        nodeSelector     = { "nvidia.com/gpu.present" = "true" }
        tolerations      = [{ key = "nvidia.com/gpu", operator = "Exists", effect = "NoSchedule" }]
      }
    }
  }
  releases = merge(local.charts, local.aws_charts, local.gpu_charts)

  # The device plugin mounts the host's device socket, which `restricted` forbids; nothing else runs in its namespace.
  privileged = ["gpu-operator"]
  namespaces = toset(concat([local.service], [for release in local.releases : release.namespace]))
}

resource "kubernetes_namespace_v1" "this" {
  for_each = local.namespaces

  metadata {
    name = each.key
    labels = merge(
      { for mode in ["enforce", "audit", "warn"] : "pod-security.kubernetes.io/${mode}" => contains(local.privileged, each.key) ? "privileged" : "restricted" },
      { for mode in ["enforce", "audit", "warn"] : "pod-security.kubernetes.io/${mode}-version" => "latest" },
      { "app.kubernetes.io/managed-by" = "terraform" },
    )
  }

  # Flux applies deploy/k8s, which names the service's namespace too, and adds these.
  lifecycle {
    ignore_changes = [
      metadata[0].annotations,
      metadata[0].labels["app.kubernetes.io/part-of"],
      metadata[0].labels["kustomize.toolkit.fluxcd.io/name"],
      metadata[0].labels["kustomize.toolkit.fluxcd.io/namespace"],
    ]
  }
}

resource "helm_release" "this" {
  for_each = local.releases

  name       = each.key
  namespace  = kubernetes_namespace_v1.this[each.value.namespace].metadata[0].name
  repository = coalesce(var.chart_mirror, each.value.repository)
  chart      = each.value.chart
  version    = lookup(var.chart_versions, each.key, each.value.version)
  values     = [yamlencode(each.value.values)]

  atomic          = true
  cleanup_on_fail = true
  wait            = true
  timeout         = 600
}

resource "kubernetes_storage_class_v1" "aws" {
  count = local.aws ? 1 : 0

  metadata {
    name        = var.storage.class_name
    annotations = { "storageclass.kubernetes.io/is-default-class" = "true" }
  }
  storage_provisioner    = "ebs.csi.aws.com"
  volume_binding_mode    = "WaitForFirstConsumer"
  reclaim_policy         = "Retain"
  allow_volume_expansion = true
  parameters             = { type = "gp3", encrypted = "true", kmsKeyId = var.artifacts.kms_key_arn }
}

# The target's limits, the issuer and the bucket for large inputs reach the service as environment (docs/settings.md), which
# deploy/k8s/base takes. AWS' library is told its region: Pod Identity promises credentials.
resource "kubernetes_config_map_v1" "settings" {
  metadata {
    name      = "bedside-target"
    namespace = kubernetes_namespace_v1.this[local.service].metadata[0].name
  }
  data = merge(var.settings, { for aws in var.aws[*] : "AWS_DEFAULT_REGION" => aws.region })
}

# Whose signature a release must bear. No secret: a Secret is where Flux looks for it.
resource "kubernetes_secret_v1" "cosign" {
  count = var.release.public_key == null ? 0 : 1

  metadata {
    name      = var.release.cosign_secret
    namespace = kubernetes_namespace_v1.this["flux-system"].metadata[0].name
  }
  data = { "cosign.pub" = var.release.public_key }
}

# Custom resources in a chart of ours: kubernetes_manifest would ask for their definitions at plan time, before the charts above
# have brought them.
resource "helm_release" "site" {
  name      = "bedside-site"
  namespace = kubernetes_namespace_v1.this[local.service].metadata[0].name
  chart     = "${path.module}/charts/manifests"
  values    = [yamlencode({ manifests = local.manifests })]

  atomic          = true
  cleanup_on_fail = true
  wait            = true

  depends_on = [helm_release.this, kubernetes_config_map_v1.settings, kubernetes_storage_class_v1.aws]
}
