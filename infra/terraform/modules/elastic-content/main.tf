locals {
  streams = { for kind, days in var.retention_days : kind => { pattern = "logs-bedside.${kind}-${var.namespace}", days = days } }

  # Written by `make docs` from the schema of events (docs/logging.md). A field of ours that it does not know is kept in _source and not
  # indexed, so that a mistake upstream can neither explode the mapping nor make an identifier searchable.
  mappings = { for kind in keys(local.streams) : kind => file("${path.module}/mappings/${kind == "audit" ? "audit" : "events"}.json") }
}

resource "elasticstack_elasticsearch_index_lifecycle" "this" {
  for_each = local.streams

  name = "bedside-${each.key}-${var.namespace}"

  hot {
    set_priority {
      priority = 100
    }

    rollover {
      max_age                = "1d"
      max_primary_shard_size = "25gb"
    }
  }

  warm {
    min_age = "7d"

    set_priority {
      priority = 50
    }

    forcemerge {
      max_num_segments = 1
    }
  }

  delete {
    min_age = "${each.value.days}d"

    delete {}
  }
}

resource "elasticstack_elasticsearch_component_template" "mappings" {
  for_each = local.mappings

  name = "bedside-${each.key}-${var.namespace}@mappings"

  template {
    mappings = each.value
  }
}

# Above Elasticsearch's own logs-*-* (priority 100).
resource "elasticstack_elasticsearch_index_template" "this" {
  for_each = local.streams

  name           = "bedside-${each.key}-${var.namespace}"
  index_patterns = [each.value.pattern]
  priority       = 200
  # Without ecs@mappings, which `bedside observability install` adds where it is there: this resource cannot ask for a template that may
  # be missing (Elasticsearch before 8.10).
  composed_of = [elasticstack_elasticsearch_component_template.mappings[each.key].name]

  data_stream {}

  template {
    settings = jsonencode({
      "index.lifecycle.name"     = elasticstack_elasticsearch_index_lifecycle.this[each.key].name
      "index.number_of_replicas" = tostring(var.replicas)
      "index.codec"              = "best_compression"
    })
  }
}

# Shippers append, and read nothing: whoever takes the key from a node learns nothing from it.
resource "elasticstack_elasticsearch_security_api_key" "shipper" {
  # The name changes with the rotation, which makes a new key before the old one goes.
  name = "bedside-shipper-${var.namespace}-${time_rotating.key.unix}"

  role_descriptors = jsonencode({
    shipper = {
      cluster = ["monitor"]
      indices = [{ names = [for stream in local.streams : stream.pattern], privileges = ["create_doc", "auto_configure"] }]
    }
  })

  lifecycle {
    create_before_destroy = true
  }
}

resource "time_rotating" "key" {
  rotation_days = var.key_rotation_days
}

# Two readers: operations see health, auditors see who did what.
resource "elasticstack_elasticsearch_security_role" "this" {
  for_each = {
    operator = ["inference", "deploy"]
    auditor  = ["audit"]
  }

  name = "bedside-${each.key}-${var.namespace}"

  indices {
    names      = [for kind in each.value : local.streams[kind].pattern]
    privileges = ["read", "view_index_metadata"]
  }

  applications {
    application = "kibana-.kibana"
    privileges  = ["feature_dashboard.read", "feature_discover.read"]
    resources   = ["space:${var.space}"]
  }
}

resource "elasticstack_kibana_import_saved_objects" "dashboards" {
  count = var.dashboards == null ? 0 : 1

  space_id      = var.space
  overwrite     = true
  file_contents = file(var.dashboards)
}
