locals {
  server = var.node.role != "agent"
  etc    = "/etc/rancher/k3s"
  data   = "/var/lib/rancher/k3s"

  # CIS Kubernetes Benchmark and the k3s hardening guide (docs.k3s.io/security/hardening-guide); the numbers are the benchmark's.
  ciphers = join(",", [
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
  ])
  sysctl = {
    "vm.panic_on_oom"           = 0
    "vm.overcommit_memory"      = 1
    "kernel.panic"              = 10
    "kernel.panic_on_oops"      = 1
    "kernel.keys.root_maxbytes" = 25000000
  }

  node_config = {
    "node-name"               = var.node.name
    "node-ip"                 = var.node.address
    "node-label"              = [for key, value in var.node.labels : "${key}=${value}"]
    "node-taint"              = [for taint in var.node.taints : "${taint.key}=${taint.value}:${taint.effect}"]
    "protect-kernel-defaults" = true # 4.2.6
    # Without it containerd turns to the image's own host when the mirror lacks it.
    "disable-default-registry-endpoint" = true
    "kubelet-arg" = [
      "streaming-connection-idle-timeout=5m", # 4.2.5
      "make-iptables-util-chains=true",       # 4.2.7
      "event-qps=0",                          # 4.2.9
      "tls-cipher-suites=${local.ciphers}",   # 4.2.12
      "pod-max-pids=4096",                    # 4.2.13
    ]
  }

  server_config = {
    "agent-token"           = element(split("::node:", var.tokens.agent), 1)
    "cluster-cidr"          = var.cluster.pod_cidr
    "service-cidr"          = var.cluster.service_cidr
    "tls-san"               = var.cluster.tls_sans
    "secrets-encryption"    = true # 1.2.27
    "write-kubeconfig-mode" = "0600"
    # The gateway is Envoy, the address kube-vip's. A single server keeps ServiceLB, which needs no address of its own.
    "disable"             = concat(["traefik"], var.cluster.servers > 1 ? ["servicelb"] : [])
    "etcd-expose-metrics" = false
    # The snapshots hold every secret, encrypted by secrets-encryption; copy them off the host (docs/infrastructure.md).
    "etcd-snapshot-schedule-cron" = "0 */6 * * *"
    "etcd-snapshot-retention"     = 28
    "embedded-registry"           = false
    "kube-apiserver-arg" = [
      "admission-control-config-file=${local.etc}/admission.yaml", # 5.2: pods are restricted unless their namespace says otherwise
      "audit-policy-file=${local.etc}/audit-policy.yaml",          # 3.2.1
      "audit-log-path=/var/log/k3s/audit.log",                     # 1.2.16
      "audit-log-maxage=${var.audit_retention_days}",              # 1.2.17
      "audit-log-maxbackup=100",                                   # 1.2.18
      "audit-log-maxsize=100",                                     # 1.2.19
      "anonymous-auth=false",                                      # 1.2.1
      "request-timeout=300s",                                      # 1.2.22
      "service-account-lookup=true",                               # 1.2.23
      "tls-cipher-suites=${local.ciphers}",                        # 1.2.32
      "oidc-issuer-url=${var.cluster.oidc_issuer}",
      "oidc-client-id=${var.cluster.oidc_audience}",
      "oidc-groups-claim=groups",
      "oidc-groups-prefix=oidc:",
    ]
    "kube-controller-manager-arg" = ["terminated-pod-gc-threshold=10"] # 1.3.1
  }

  role_config = {
    init   = merge(local.server_config, { "cluster-init" = true, "token" = var.tokens.server })
    server = merge(local.server_config, { "server" = "https://${var.cluster.join_address}:6443", "token" = var.tokens.server })
    agent  = { "server" = "https://${var.cluster.join_address}:6443", "token" = var.tokens.agent }
  }
  config = yamlencode(merge(local.node_config, local.role_config[var.node.role]))

  # The asterisk stands for every host that has no entry of its own: no image is pulled past the mirror.
  registries = yamlencode({
    mirrors = {
      "*" = merge({ endpoint = ["https://${var.registry.host}"] },
      var.registry.path == "" ? {} : { rewrite = { "^(.*)$" = "${var.registry.path}/$1" } })
      # References that already name the mirror are not rewritten a second time.
      (var.registry.host) = { endpoint = ["https://${var.registry.host}"] }
    }
    configs = {
      (var.registry.host) = { tls = merge({ insecure_skip_verify = false },
      var.registry.ca_certificate == null ? {} : { ca_file = "${local.etc}/registry-ca.pem" }) }
    }
  })

  admission = yamlencode({
    apiVersion = "apiserver.config.k8s.io/v1"
    kind       = "AdmissionConfiguration"
    plugins = [{
      name = "PodSecurity"
      configuration = {
        apiVersion = "pod-security.admission.config.k8s.io/v1"
        kind       = "PodSecurityConfiguration"
        defaults = {
          enforce = "restricted", "enforce-version" = "latest", audit = "restricted", "audit-version" = "latest", warn = "restricted", "warn-version" = "latest"
        }
        exemptions = { usernames = [], runtimeClasses = [], namespaces = ["kube-system", "longhorn-system", "gpu-operator"] }
      }
    }]
  })

  # Secrets and tokens by metadata only: their content must not reach a log. Health probes and watches would drown the rest.
  audit = yamlencode({
    apiVersion = "audit.k8s.io/v1"
    kind       = "Policy"
    omitStages = ["RequestReceived"]
    rules = [
      { level = "None", nonResourceURLs = ["/healthz*", "/livez*", "/readyz*", "/version", "/metrics"] },
      { level = "None", verbs = ["watch"], users = ["system:kube-proxy", "system:apiserver"] },
      { level = "Metadata", resources = [{ group = "", resources = ["secrets", "configmaps", "serviceaccounts/token"] }, { group = "authentication.k8s.io", resources = ["tokenreviews"] }] },
      { level = "RequestResponse", verbs = ["create", "update", "patch", "delete", "deletecollection"] },
      { level = "Metadata" },
    ]
  })

  administrators = join("---\n", [for group in var.cluster.administrators : yamlencode({
    apiVersion = "rbac.authorization.k8s.io/v1"
    kind       = "ClusterRoleBinding"
    metadata   = { name = "administrators-${substr(sha256(group), 0, 8)}" }
    roleRef    = { apiGroup = "rbac.authorization.k8s.io", kind = "ClusterRole", name = "cluster-admin" }
    subjects   = [{ apiGroup = "rbac.authorization.k8s.io", kind = "Group", name = "oidc:${group}" }]
  })])

  install = templatefile("${path.module}/templates/install.sh.tftpl", {
    version = var.install.version, source = var.install.source, sha256 = var.install.sha256, server = local.server, data = local.data
  })
  unit = templatefile("${path.module}/templates/k3s.service.tftpl", { mode = local.server ? "server" : "agent" })

  files = merge(
    {
      "${local.etc}/config.yaml"            = { content = local.config, permissions = "0600" }
      "${local.etc}/registries.yaml"        = { content = local.registries, permissions = "0600" }
      "/etc/sysctl.d/90-kubelet.conf"       = { content = join("", [for key, value in local.sysctl : "${key}=${value}\n"]), permissions = "0644" }
      "/etc/systemd/system/k3s.service"     = { content = local.unit, permissions = "0644" }
      "/usr/local/sbin/bedside-k3s-install" = { content = local.install, permissions = "0755" }
    },
    var.registry.ca_certificate == null ? {} : { "${local.etc}/registry-ca.pem" = { content = var.registry.ca_certificate, permissions = "0644" } },
    !local.server ? {} : {
      "${local.etc}/admission.yaml"                        = { content = local.admission, permissions = "0600" }
      "${local.etc}/audit-policy.yaml"                     = { content = local.audit, permissions = "0600" }
      "${local.data}/server/manifests/administrators.yaml" = { content = local.administrators, permissions = "0600" }
    },
    !local.server ? {} : { for name, text in var.manifests : "${local.data}/server/manifests/${name}" => { content = text, permissions = "0600" } },
    # The other servers get the authorities from the first one, over the join that the token's hash secures.
    var.node.role != "init" ? {} : { for name in nonsensitive(keys(var.authorities)) :
    "${local.data}/server/tls/${name}" => { content = var.authorities[name], permissions = "0600" } },
  )

  user_data = join("", ["#cloud-config\n", yamlencode({
    hostname          = var.node.name
    preserve_hostname = false
    # Nobody logs in: the machine is set up by this file and administered through the Kubernetes API.
    ssh_pwauth   = false
    disable_root = true
    # A list without "default" keeps the image from making its own user (cloud-init refuses an empty one).
    users           = [{ name = "root", lock_passwd = true }]
    package_update  = false
    package_upgrade = false
    write_files = [for path, file in local.files : {
      path = path, owner = "root:root", permissions = file.permissions, encoding = "b64", content = base64encode(file.content)
    }]
    # One command: what lacks its checksum must keep k3s from starting, and cloud-init goes on after a command that failed.
    runcmd = ["sysctl --system && /usr/local/sbin/bedside-k3s-install && systemctl daemon-reload && systemctl enable --now k3s.service"]
  })])

  # A change of what a machine is set up with makes a new instance: cloud-init runs once per instance-id.
  meta_data = yamlencode({ "instance-id" = "${var.node.name}-${substr(nonsensitive(sha256(local.user_data)), 0, 12)}", "local-hostname" = var.node.name })
}
