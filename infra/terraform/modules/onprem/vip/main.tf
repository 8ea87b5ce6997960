# kube-vip, ARP mode: announces the API's address from one server (leader election by a Lease) and gives Services of type LoadBalancer
# the address that their annotation names. Needs the host's network and two capabilities, hence kube-system.
locals {
  labels = { "app.kubernetes.io/name" = "kube-vip" }
  environment = {
    vip_arp            = "true"
    vip_interface      = var.interface
    vip_subnet         = "32"
    address            = var.api_vip
    port               = "6443"
    cp_enable          = "true"
    cp_namespace       = "kube-system"
    svc_enable         = "true"
    svc_election       = "true"
    vip_leaderelection = "true"
    vip_leaseduration  = "15"
    vip_renewdeadline  = "10"
    vip_retryperiod    = "2"
    prometheus_server  = "127.0.0.1:2112"
  }

  objects = [
    { apiVersion = "v1", kind = "ServiceAccount", metadata = { name = "kube-vip", namespace = "kube-system" } },
    {
      apiVersion = "rbac.authorization.k8s.io/v1"
      kind       = "ClusterRole"
      metadata   = { name = "kube-vip" }
      rules = [
        { apiGroups = [""], resources = ["services/status"], verbs = ["update"] },
        { apiGroups = [""], resources = ["services"], verbs = ["list", "get", "watch", "update"] },
        { apiGroups = [""], resources = ["endpoints", "nodes", "pods"], verbs = ["list", "get", "watch"] },
        { apiGroups = ["discovery.k8s.io"], resources = ["endpointslices"], verbs = ["list", "get", "watch"] },
        { apiGroups = ["coordination.k8s.io"], resources = ["leases"], verbs = ["list", "get", "watch", "update", "create"] },
        { apiGroups = [""], resources = ["events"], verbs = ["create", "patch"] },
      ]
    },
    {
      apiVersion = "rbac.authorization.k8s.io/v1"
      kind       = "ClusterRoleBinding"
      metadata   = { name = "kube-vip" }
      roleRef    = { apiGroup = "rbac.authorization.k8s.io", kind = "ClusterRole", name = "kube-vip" }
      subjects   = [{ kind = "ServiceAccount", name = "kube-vip", namespace = "kube-system" }]
    },
    {
      apiVersion = "apps/v1"
      kind       = "DaemonSet"
      metadata   = { name = "kube-vip", namespace = "kube-system", labels = local.labels }
      spec = {
        selector       = { matchLabels = local.labels }
        updateStrategy = { type = "RollingUpdate", rollingUpdate = { maxUnavailable = 1 } }
        template = {
          metadata = { labels = local.labels }
          spec = {
            serviceAccountName = "kube-vip"
            hostNetwork        = true
            priorityClassName  = "system-node-critical"
            nodeSelector       = { "node-role.kubernetes.io/control-plane" = "true" }
            tolerations        = [{ operator = "Exists", effect = "NoSchedule" }, { operator = "Exists", effect = "NoExecute" }]
            containers = [{
              name            = "kube-vip"
              image           = var.image
              imagePullPolicy = "IfNotPresent"
              args            = ["manager"]
              env             = [for name, value in local.environment : { name = name, value = value }]
              resources       = { requests = { cpu = "20m", memory = "64Mi" }, limits = { memory = "128Mi" } }
              securityContext = {
                allowPrivilegeEscalation = false
                readOnlyRootFilesystem   = true
                capabilities             = { drop = ["ALL"], add = ["NET_ADMIN", "NET_RAW"] }
                seccompProfile           = { type = "RuntimeDefault" }
              }
            }]
          }
        }
      }
    },
  ]
}
