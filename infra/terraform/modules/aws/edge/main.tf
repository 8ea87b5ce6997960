# Caller → API Gateway (JWT, throttling) → VPC link → internal load balancer → gateway in the cluster. Terraform owns all of it: the
# controller in the cluster only names pods, so that destroying the cluster leaves no balancer behind (aws-load-balancer-controller#2014).

locals {
  # What callers need, as components/gateway of deploy/k8s has it (a test compares). What is not listed gets 404 from API Gateway, without a
  # token being looked at: /metrics above all, which names models and counts classes.
  prefixes = ["/v1", "/v2", "/dicomweb", "/docs"]
  pages    = ["/openapi.json"]
  health   = ["/livez", "/readyz"]
  routes = merge(
    { for path in local.prefixes : "ANY ${path}" => "JWT" },
    { for path in local.prefixes : "ANY ${path}/{proxy+}" => "JWT" },
    { for path in local.pages : "GET ${path}" => "JWT" },
    { for path in local.health : "GET ${path}" => contains(var.public_paths, path) ? "NONE" : "JWT" },
  )

  # Route templates, not paths; no addresses, no subjects, no query: none of this can name a patient or a caller.
  access_log = {
    time               = "$context.requestTime"
    request_id         = "$context.requestId"
    route              = "$context.routeKey"
    protocol           = "$context.protocol"
    status             = "$context.status"
    response_bytes     = "$context.responseLength"
    latency_ms         = "$context.responseLatency"
    integration_ms     = "$context.integrationLatency"
    integration_status = "$context.integrationStatus"
    authorizer_error   = "$context.authorizer.error"
  }
}

resource "aws_apigatewayv2_api" "this" {
  name          = var.name
  protocol_type = "HTTP"
  # Callers come by the custom domain; the default one would be a second door.
  disable_execute_api_endpoint = true
}

resource "aws_apigatewayv2_authorizer" "this" {
  api_id           = aws_apigatewayv2_api.this.id
  name             = "oidc"
  authorizer_type  = "JWT"
  identity_sources = ["$request.header.Authorization"]

  jwt_configuration {
    issuer   = var.oidc.issuer
    audience = [var.oidc.audience]
  }
}

resource "aws_apigatewayv2_integration" "this" {
  api_id               = aws_apigatewayv2_api.this.id
  integration_type     = "HTTP_PROXY"
  integration_method   = "ANY"
  integration_uri      = aws_lb_listener.this.arn
  connection_type      = "VPC_LINK"
  connection_id        = aws_apigatewayv2_vpc_link.this.id
  timeout_milliseconds = var.limits.request_seconds * 1000

  tls_config {
    server_name_to_verify = var.hostname
  }
}

resource "aws_apigatewayv2_route" "this" {
  #checkov:skip=CKV_AWS_309:NONE is reachable only for /livez and /readyz, and only where public_paths names them (validated, tested)
  for_each = local.routes

  api_id               = aws_apigatewayv2_api.this.id
  route_key            = each.key
  target               = "integrations/${aws_apigatewayv2_integration.this.id}"
  authorization_type   = each.value
  authorizer_id        = each.value == "JWT" ? aws_apigatewayv2_authorizer.this.id : null
  authorization_scopes = each.value == "JWT" ? var.oidc.scopes : null
}

resource "aws_apigatewayv2_stage" "this" {
  api_id      = aws_apigatewayv2_api.this.id
  name        = "$default"
  auto_deploy = true

  default_route_settings {
    detailed_metrics_enabled = true
    throttling_rate_limit    = var.limits.requests_per_second
    throttling_burst_limit   = var.limits.burst
  }

  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.access.arn
    format          = jsonencode(local.access_log)
  }
}

resource "aws_cloudwatch_log_group" "access" {
  name              = "/apigateway/${var.name}/access"
  kms_key_id        = var.kms_key_arn
  retention_in_days = var.log_retention_days
}

resource "aws_apigatewayv2_domain_name" "this" {
  domain_name = var.hostname

  domain_name_configuration {
    certificate_arn = var.certificate_arn
    endpoint_type   = "REGIONAL"
    security_policy = "TLS_1_2"
  }
}

resource "aws_apigatewayv2_api_mapping" "this" {
  api_id      = aws_apigatewayv2_api.this.id
  domain_name = aws_apigatewayv2_domain_name.this.id
  stage       = aws_apigatewayv2_stage.this.id
}

resource "aws_apigatewayv2_vpc_link" "this" {
  name               = var.name
  subnet_ids         = var.subnet_ids
  security_group_ids = [aws_security_group.link.id]
}

resource "aws_lb" "this" {
  #checkov:skip=CKV_AWS_91:a balancer's access logs hold raw URLs and addresses; API Gateway's, which hold neither, are kept instead
  #checkov:skip=CKV2_AWS_28:a web ACL does not see more than the gateway and the contract check do; callers are authenticated before they get here
  #checkov:skip=CKV_AWS_150:set by var.protect, which is true in prod
  name                       = "${var.name}-lb"
  internal                   = true
  load_balancer_type         = "application"
  subnets                    = var.subnet_ids
  security_groups            = [aws_security_group.lb.id]
  drop_invalid_header_fields = true
  enable_deletion_protection = var.protect
  # Longer than the longest request, shorter than the service's keep-alive of 75 s: the balancer closes first.
  idle_timeout = 60
}

resource "aws_lb_listener" "this" {
  load_balancer_arn = aws_lb.this.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }
}

# Filled by a TargetGroupBinding (modules/platform) with the addresses of the gateway's pods.
resource "aws_lb_target_group" "this" {
  name_prefix          = substr(replace(var.name, "-", ""), 0, 6)
  vpc_id               = var.vpc_id
  target_type          = "ip"
  protocol             = "HTTPS"
  port                 = var.gateway_port
  deregistration_delay = 45

  health_check {
    protocol            = "HTTPS"
    path                = "/readyz"
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }

  lifecycle {
    create_before_destroy = true
  }
}

# link → balancer → gateway: each group talks to the next one at one port, and to nobody else.
resource "aws_security_group" "link" {
  name        = "${var.name}-link"
  description = "VPC link: to the load balancer"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-link" }
}

resource "aws_security_group" "lb" {
  name        = "${var.name}-lb"
  description = "Load balancer: from the VPC link to the gateway"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-lb" }
}

resource "aws_vpc_security_group_egress_rule" "link" {
  security_group_id            = aws_security_group.link.id
  description                  = "To the load balancer"
  referenced_security_group_id = aws_security_group.lb.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

resource "aws_vpc_security_group_ingress_rule" "lb" {
  security_group_id            = aws_security_group.lb.id
  description                  = "From the VPC link"
  referenced_security_group_id = aws_security_group.link.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

resource "aws_vpc_security_group_egress_rule" "lb" {
  security_group_id            = aws_security_group.lb.id
  description                  = "To the gateway's pods"
  referenced_security_group_id = var.node_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = var.gateway_port
  to_port                      = var.gateway_port
}

resource "aws_vpc_security_group_ingress_rule" "nodes" {
  security_group_id            = var.node_security_group_id
  description                  = "Gateway, from the load balancer"
  referenced_security_group_id = aws_security_group.lb.id
  ip_protocol                  = "tcp"
  from_port                    = var.gateway_port
  to_port                      = var.gateway_port
}
