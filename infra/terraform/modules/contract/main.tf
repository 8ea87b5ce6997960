locals {
  id = "${var.name}-${var.environment}"

  # Hard limits of API Gateway's HTTP APIs, which no support request raises: 10 MB of payload, 30 s for the integration.
  # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
  gateway_body_bytes      = 10000000
  gateway_request_seconds = 30
  capped                  = var.target == "aws"
  body_bytes              = local.capped ? min(var.limits.body_bytes, local.gateway_body_bytes) : var.limits.body_bytes
  request_seconds         = local.capped ? min(var.limits.request_seconds, local.gateway_request_seconds) : var.limits.request_seconds
  bulk_lane               = local.capped || var.storage.object_endpoint != null

  # A GPU is kept for those who ask for one.
  gpu_taint = { key = "nvidia.com/gpu", value = "present", effect = "NoSchedule" }

  pools = {
    for name, pool in var.node_pools : name => merge(pool, {
      gpu_count = pool.gpu == null ? 0 : pool.gpu.count
      labels = tomap(merge(pool.labels, { "bedside.dev/pool" = name, "bedside.dev/role" = pool.role },
      pool.gpu == null ? {} : { "nvidia.com/gpu.present" = "true" }))
      taints = concat(pool.taints, pool.gpu == null ? [] : [local.gpu_taint])
    })
  }
}
