output "id" {
  description = "NAME-ENVIRONMENT, the prefix of everything that is created."
  value       = local.id
}

output "protect" {
  description = "Whether what holds data is protected against deletion."
  value       = var.environment == "prod"
}

output "pools" {
  description = "The node pools with the labels and taints that nodes get, whatever the target."
  value       = local.pools
}

output "limits" {
  description = "What one request may take on this target, and whether larger inputs have a way round (presigned upload, then a job)."
  value = {
    body_bytes          = local.body_bytes
    request_seconds     = local.request_seconds
    requests_per_second = var.limits.requests_per_second
    burst               = var.limits.burst
    bulk_lane           = local.bulk_lane
  }
}

output "settings" {
  description = "Environment of the service: the target's limits, the issuer, the way of large inputs (docs/settings.md)."
  value = merge({
    BEDSIDE_ENV                = var.environment == "dev" ? "development" : "production"
    BEDSIDE_LIMITS__BODY_BYTES = tostring(local.body_bytes)
    # One second less than the edge allows: the caller gets our problem document, not the edge's bare 503.
    BEDSIDE_LIMITS__REQUEST_SECONDS = tostring(local.request_seconds - 1)
    BEDSIDE_AUTH__ISSUER            = var.oidc.issuer
    BEDSIDE_AUTH__AUDIENCE          = var.oidc.audience
    }, local.bulk_lane ? {
    # What is too large for the edge comes by way of the bucket, up to what the site asked for. Sites add the bucket of this name.
    BEDSIDE_REFERENCES__UPLOADS     = "uploads"
    BEDSIDE_REFERENCES__INPUT_BYTES = tostring(var.limits.body_bytes)
  } : {})
}
