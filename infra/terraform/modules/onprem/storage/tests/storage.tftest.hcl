# Which storage a site gets, and from where.
variables {
  class  = "replicated"
  hosts  = 3
  charts = ["longhorn-1.11.1.tgz", "keda-2.20.2.tgz"]
}

run "replicated_storage_comes_from_the_servers_own_chart" {
  command = plan

  assert {
    condition     = yamldecode(output.manifests["longhorn.yaml"]).spec.chart == "https://%%{KUBERNETES_API}%/static/charts/longhorn-1.11.1.tgz"
    error_message = "The chart must come from the server itself."
  }
  assert {
    condition     = yamldecode(yamldecode(output.manifests["longhorn.yaml"]).spec.valuesContent).persistence == { defaultClass = true, defaultClassReplicaCount = 3, reclaimPolicy = "Retain" }
    error_message = "Volumes have three replicas and outlive their claim."
  }
  assert {
    condition     = output.class_name == "longhorn"
    error_message = "StorageClass."
  }
}

run "local_storage_needs_nothing" {
  command = plan

  variables {
    class  = "local"
    hosts  = 1
    charts = []
  }

  assert {
    condition     = length(output.manifests) == 0 && output.class_name == "local-path"
    error_message = "k3s brings local-path along."
  }
}

run "refuses_unknown_class" {
  command = plan

  variables {
    class = "nfs"
    hosts = 1
  }

  expect_failures = [var.class]
}

run "refuses_replicas_on_two_hosts" {
  command = plan

  variables {
    hosts = 2
  }

  expect_failures = [var.hosts]
}

run "refuses_replicated_storage_without_chart" {
  command = plan

  variables {
    charts = []
  }

  expect_failures = [var.charts]
}
