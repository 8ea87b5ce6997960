variable "namespace" {
  description = "Namespace of the data streams, such as the stage: logs-bedside.inference-NAMESPACE."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9_.]{1,100}$", var.namespace))
    error_message = "namespace is 1 to 100 lower-case letters, digits, dots and underscores: a dash separates the parts of a data stream's name."
  }
}

variable "retention_days" {
  description = "Days that events are kept, by data stream."
  type        = object({ inference = optional(number, 90), audit = optional(number, 2192), deploy = optional(number, 730) })
  default     = {}
  nullable    = false

  validation {
    condition     = var.retention_days.audit >= 2190
    error_message = "retention_days.audit is at least 2190: HIPAA asks for six years of audit documentation."
  }

  validation {
    condition     = alltrue([for days in values(var.retention_days) : days >= 30])
    error_message = "retention_days are at least 30."
  }
}

variable "replicas" {
  description = "Copies of each shard; 0 on a single Elasticsearch node."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.replicas >= 0 && var.replicas <= 3
    error_message = "replicas is between 0 and 3."
  }
}

variable "dashboards" {
  description = "Path of an NDJSON file of Kibana saved objects to import. Null: none."
  type        = string
  default     = null

  validation {
    condition     = var.dashboards == null ? true : endswith(var.dashboards, ".ndjson")
    error_message = "dashboards must be an .ndjson file."
  }
}

variable "space" {
  description = "Kibana space that the dashboards are imported into."
  type        = string
  default     = "default"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9_-]+$", var.space))
    error_message = "space is lower-case letters, digits, dashes and underscores."
  }
}

variable "key_rotation_days" {
  description = "Days after which the shippers' API key is made anew."
  type        = number
  default     = 90
  nullable    = false

  validation {
    condition     = var.key_rotation_days >= 1 && var.key_rotation_days <= 365
    error_message = "key_rotation_days is between 1 and 365."
  }
}
