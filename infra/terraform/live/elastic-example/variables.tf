variable "elasticsearch" {
  description = "URLs of Elasticsearch. Its API key comes from the environment: ELASTICSEARCH_API_KEY."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.elasticsearch) > 0 && alltrue([for url in var.elasticsearch : startswith(url, "https://")])
    error_message = "elasticsearch must name at least one https URL."
  }
}

variable "kibana" {
  description = "URL of Kibana. Its API key comes from the environment: KIBANA_API_KEY."
  type        = string
  nullable    = false

  validation {
    condition     = startswith(var.kibana, "https://")
    error_message = "kibana must be an https URL."
  }
}

variable "namespace" {
  description = "Namespace of the data streams."
  type        = string
  default     = "prod"
  nullable    = false

  validation {
    condition     = !strcontains(var.namespace, "-")
    error_message = "namespace has no dash: it separates the parts of a data stream's name."
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
