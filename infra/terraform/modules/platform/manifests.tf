# What the cluster needs beside controllers, as Kubernetes objects. The workload itself is deploy/k8s, which Flux brings.
locals {
  gateway = [
    {
      apiVersion = "gateway.envoyproxy.io/v1alpha1"
      kind       = "EnvoyProxy"
      metadata   = { name = "edge", namespace = "envoy-gateway-system" }
      spec = {
        provider = {
          type = "Kubernetes"
          kubernetes = {
            envoyDeployment = { replicas = 2 }
            # AWS: the load balancer speaks to pods, by the TargetGroupBinding. On-premises: kube-vip, or ServiceLB on one machine.
            envoyService = local.aws ? { type = "ClusterIP", annotations = {} } : {
              type        = "LoadBalancer"
              annotations = var.gateway.address == null ? {} : { "kube-vip.io/loadbalancerIPs" = var.gateway.address }
            }
          }
        }
      }
    },
    {
      apiVersion = "gateway.networking.k8s.io/v1"
      kind       = "GatewayClass"
      metadata   = { name = "envoy" }
      spec = {
        controllerName = "gateway.envoyproxy.io/gatewayclass-controller"
        parametersRef  = { group = "gateway.envoyproxy.io", kind = "EnvoyProxy", name = "edge", namespace = "envoy-gateway-system" }
      }
    },
  ]

  # The site's own authority: no certificate is asked for outside. A hospital with one of its own replaces the last Issuer.
  certificates = [
    { apiVersion = "cert-manager.io/v1", kind = "Issuer", metadata = { name = "self", namespace = local.service }, spec = { selfSigned = {} } },
    {
      apiVersion = "cert-manager.io/v1"
      kind       = "Certificate"
      metadata   = { name = "bedside-authority", namespace = local.service }
      spec = {
        isCA       = true, commonName = "${var.cluster.name} authority", secretName = "bedside-authority", duration = "87600h"
        privateKey = { algorithm = "ECDSA", size = 256, rotationPolicy = "Never" }
        issuerRef  = { name = "self", kind = "Issuer" }
      }
    },
    { apiVersion = "cert-manager.io/v1", kind = "Issuer", metadata = { name = "bedside", namespace = local.service }, spec = { ca = { secretName = "bedside-authority" } } },
    {
      apiVersion = "cert-manager.io/v1"
      kind       = "Certificate"
      metadata   = { name = "bedside-tls", namespace = local.service }
      spec = {
        secretName = "bedside-tls", dnsNames = [var.gateway.hostname], duration = "2160h", renewBefore = "720h"
        privateKey = { algorithm = "ECDSA", size = 256, rotationPolicy = "Always" }
        issuerRef  = { name = "bedside", kind = "Issuer" }
      }
    },
  ]

  target_group = !local.aws ? [] : [{
    apiVersion = "elbv2.k8s.aws/v1beta1"
    kind       = "TargetGroupBinding"
    metadata   = { name = "bedside", namespace = "envoy-gateway-system" }
    spec = {
      targetGroupARN = var.gateway.target_group_arn
      targetType     = "ip"
      serviceRef     = { name = "envoy-bedside", port = 443 }
    }
  }]

  # Envoy Gateway names a Gateway's Service with a hash; this one has a name that the TargetGroupBinding can know.
  target_service = !local.aws ? [] : [{
    apiVersion = "v1"
    kind       = "Service"
    metadata   = { name = "envoy-bedside", namespace = "envoy-gateway-system" }
    spec = {
      type     = "ClusterIP"
      selector = { "gateway.envoyproxy.io/owning-gateway-namespace" = local.service, "gateway.envoyproxy.io/owning-gateway-name" = "bedside" }
      ports    = [{ name = "https", port = 443, targetPort = 10443 }]
    }
  }]

  secret_providers = concat(
    [for aws in var.aws[*] : { aws = { service = "SecretsManager", region = aws.region } }],
    [for vault in local.aws ? [] : var.vault[*] : { vault = {
      server = vault.server, path = vault.path, version = "v2"
      auth   = { kubernetes = { mountPath = "kubernetes", role = vault.role, serviceAccountRef = { name = "external-secrets", namespace = "external-secrets" } } }
    } }],
  )
  secrets = [for provider in local.secret_providers : {
    apiVersion = "external-secrets.io/v1"
    kind       = "ClusterSecretStore"
    metadata   = { name = "site" }
    # Of all namespaces, the service's alone reads through it.
    spec = { provider = provider, conditions = [{ namespaces = [local.service] }] }
  }]

  # Out to the bucket of large inputs, and on AWS to Pod Identity's agent for the right to it: on each node, at this address everywhere.
  agent = { to = [{ ipBlock = { cidr = "169.254.170.23/32" } }], ports = [{ port = 80, protocol = "TCP" }] }
  store = length(var.artifacts.cidrs) == 0 ? [] : [{
    apiVersion = "networking.k8s.io/v1"
    kind       = "NetworkPolicy"
    metadata   = { name = "bedside-to-store", namespace = local.service }
    spec = {
      podSelector = { matchLabels = { "app.kubernetes.io/component" = "server" } }
      policyTypes = ["Egress"]
      egress = concat([{
        to    = [for cidr in var.artifacts.cidrs : { ipBlock = { cidr = cidr } }]
        ports = [{ port = try(tonumber(regex(":([0-9]+)$", var.artifacts.endpoint)[0]), 443), protocol = "TCP" }]
      }], local.aws ? [local.agent] : [])
    }
  }]

  flux = [
    {
      apiVersion = "source.toolkit.fluxcd.io/v1"
      kind       = "OCIRepository"
      metadata   = { name = "bedside", namespace = "flux-system" }
      spec = {
        interval = "1m"
        url      = "oci://${var.registry.prefix}/${var.release.repository}"
        provider = local.aws ? "aws" : "generic"
        ref      = var.release.digest != null ? { digest = var.release.digest } : { semver = var.release.semver }
        # Unsigned, or signed by somebody else: not brought up.
        verify = { provider = "cosign", secretRef = { name = var.release.cosign_secret } }
      }
    },
    {
      apiVersion = "kustomize.toolkit.fluxcd.io/v1"
      kind       = "Kustomization"
      metadata   = { name = "bedside", namespace = "flux-system" }
      spec = {
        interval  = "10m"
        timeout   = "15m"
        sourceRef = { kind = "OCIRepository", name = "bedside" }
        path      = var.release.path
        prune     = true
        wait      = true
        patches   = concat([local.settings_patch, local.namespace_patch], local.aws ? [local.listener_patch] : [])
      }
    },
  ]

  settings_patch = {
    target = { kind = "Deployment", name = "bedside" }
    patch = yamlencode([
      # A change of the settings rolls the pods. One key (RFC 6901 §3: ~1 is a slash): the manifests' own annotations stay.
      { op = "add", path = "/spec/template/metadata/annotations/bedside.dev~1target-settings", value = substr(sha256(jsonencode(var.settings)), 0, 12) },
    ])
  }
  # The namespace is Terraform's: withdrawing the release must not take the settings and certificates in it along.
  namespace_patch = {
    target = { kind = "Namespace", name = local.service }
    # A merge: an "add" of RFC 6902 would take the place of every annotation that the manifests give it.
    patch = yamlencode({
      apiVersion = "v1"
      kind       = "Namespace"
      metadata   = { name = local.service, annotations = { "kustomize.toolkit.fluxcd.io/prune" = "disabled" } }
    })
  }
  # An ALB sends no server name to its targets, so a listener with a hostname would refuse it. API Gateway knows one hostname only.
  listener_patch = {
    target = { kind = "Gateway", name = "bedside" }
    patch  = yamlencode([{ op = "remove", path = "/spec/listeners/0/hostname" }])
  }

  manifests = concat(local.gateway, local.certificates, local.target_service, local.target_group, local.secrets, local.store, local.flux)
}
