locals {
  replicated = var.class == "replicated"
  chart      = one([for name in var.charts : name if startswith(name, "longhorn-")])

  # The API server hands charts out that lie in server/static: no chart repository is reached.
  longhorn = {
    apiVersion = "helm.cattle.io/v1"
    kind       = "HelmChart"
    metadata   = { name = "longhorn", namespace = "kube-system" }
    spec = {
      chart           = "https://%%{KUBERNETES_API}%/static/charts/${coalesce(local.chart, "absent")}"
      targetNamespace = "longhorn-system"
      createNamespace = true
      valuesContent = yamlencode({
        persistence = { defaultClass = true, defaultClassReplicaCount = 3, reclaimPolicy = "Retain" }
        defaultSettings = {
          defaultReplicaCount                     = 3
          replicaSoftAntiAffinity                 = false
          nodeDownPodDeletionPolicy               = "delete-both-statefulset-and-deployment-pod"
          storageReservedPercentageForDefaultDisk = 20
        }
      })
    }
  }
}
