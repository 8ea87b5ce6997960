# The way in: a token on every route, a bound on every caller, no door beside it.
mock_provider "aws" {
  source = "../../../tests/mocks/aws"
}

variables {
  name                   = "ward-prod"
  vpc_id                 = "vpc-1"
  subnet_ids             = ["subnet-1", "subnet-2"]
  node_security_group_id = "sg-nodes"
  hostname               = "inference.example.org"
  certificate_arn        = "arn:aws:acm:eu-central-1:111122223333:certificate/1"
  oidc                   = { issuer = "https://id.example.org/realms/hospital", audience = "bedside", scopes = [] }
  limits                 = { request_seconds = 30, requests_per_second = 50, burst = 100 }
  kms_key_arn            = "arn:aws:kms:eu-central-1:111122223333:key/1"
  log_retention_days     = 2192
  protect                = true
}

run "every_route_needs_a_token" {
  assert {
    condition     = length(aws_apigatewayv2_route.this) > 0 && alltrue([for route in aws_apigatewayv2_route.this : route.authorization_type == "JWT" && route.authorizer_id == aws_apigatewayv2_authorizer.this.id])
    error_message = "A route lets callers in without a token."
  }
  assert {
    condition     = aws_apigatewayv2_authorizer.this.jwt_configuration[0].issuer == var.oidc.issuer && aws_apigatewayv2_authorizer.this.jwt_configuration[0].audience == toset(["bedside"])
    error_message = "The authorizer must check issuer and audience."
  }
  assert {
    condition     = aws_apigatewayv2_api.this.disable_execute_api_endpoint
    error_message = "The default domain is a second door."
  }
}

run "only_what_callers_need_is_routed" {
  assert {
    condition     = alltrue([for key in keys(aws_apigatewayv2_route.this) : can(regex("^(ANY /(v1|v2|dicomweb|docs)(/\\{proxy\\+\\})?|GET /(openapi\\.json|livez|readyz))$", key))])
    error_message = "A route leads to more than callers need; /metrics is for Prometheus, inside."
  }
  assert {
    condition     = alltrue([for key in ["ANY /v1/{proxy+}", "ANY /v2", "ANY /v2/{proxy+}", "ANY /dicomweb/{proxy+}", "GET /readyz"] : contains(keys(aws_apigatewayv2_route.this), key)])
    error_message = "Callers do not reach what they need."
  }
}

run "only_health_may_be_public" {
  variables {
    public_paths = ["/livez"]
  }

  assert {
    condition     = [for key, route in aws_apigatewayv2_route.this : key if route.authorization_type != "JWT"] == ["GET /livez"]
    error_message = "Nothing but health is without a token."
  }
}

run "asks_for_scopes_where_the_site_does" {
  variables {
    oidc = { issuer = "https://id.example.org/realms/hospital", audience = "bedside", scopes = ["bedside.infer"] }
  }

  assert {
    condition     = aws_apigatewayv2_route.this["ANY /v2/{proxy+}"].authorization_scopes == toset(["bedside.infer"])
    error_message = "Scopes."
  }
}

run "callers_are_bounded" {
  assert {
    condition     = aws_apigatewayv2_stage.this.default_route_settings[0].throttling_rate_limit == 50 && aws_apigatewayv2_stage.this.default_route_settings[0].throttling_burst_limit == 100
    error_message = "Without throttling one caller starves the others."
  }
  assert {
    condition     = aws_apigatewayv2_integration.this.timeout_milliseconds == 30000
    error_message = "Time-out."
  }
}

run "access_logs_name_nobody" {
  assert {
    condition = alltrue([for forbidden in ["identity", "sourceIp", "$context.path", "claims", "user", "domainName", "querystring", "header"] :
    !strcontains(lower(aws_apigatewayv2_stage.this.access_log_settings[0].format), lower(forbidden))])
    error_message = "Access logs must hold neither addresses nor paths nor claims."
  }
  assert {
    condition     = jsondecode(aws_apigatewayv2_stage.this.access_log_settings[0].format).route == "$context.routeKey" && jsondecode(aws_apigatewayv2_stage.this.access_log_settings[0].format).request_id == "$context.requestId"
    error_message = "Access logs must tell which route, and which request."
  }
  assert {
    condition     = aws_cloudwatch_log_group.access.kms_key_id == var.kms_key_arn && aws_cloudwatch_log_group.access.retention_in_days == 2192
    error_message = "Access logs are encrypted and kept."
  }
}

run "load_balancer_is_internal_and_speaks_tls" {
  assert {
    condition     = aws_lb.this.internal && aws_lb.this.drop_invalid_header_fields && aws_lb.this.enable_deletion_protection
    error_message = "The balancer is internal, strict about headers, protected."
  }
  assert {
    condition     = aws_lb_listener.this.protocol == "HTTPS" && strcontains(aws_lb_listener.this.ssl_policy, "TLS13") && aws_lb_target_group.this.protocol == "HTTPS"
    error_message = "TLS on both sides of the balancer."
  }
  assert {
    condition     = aws_apigatewayv2_integration.this.connection_type == "VPC_LINK" && aws_apigatewayv2_integration.this.tls_config[0].server_name_to_verify == "inference.example.org"
    error_message = "API Gateway must verify whom it talks to."
  }
}

run "each_group_talks_to_the_next_alone" {
  assert {
    condition = alltrue([for rule in [aws_vpc_security_group_ingress_rule.lb, aws_vpc_security_group_ingress_rule.nodes, aws_vpc_security_group_egress_rule.link, aws_vpc_security_group_egress_rule.lb] :
    rule.cidr_ipv4 == null && rule.cidr_ipv6 == null && rule.from_port == rule.to_port])
    error_message = "No rule by address, none over a range of ports."
  }
  assert {
    condition     = aws_vpc_security_group_ingress_rule.lb.referenced_security_group_id == aws_security_group.link.id && aws_vpc_security_group_ingress_rule.nodes.referenced_security_group_id == aws_security_group.lb.id
    error_message = "link → balancer → nodes."
  }
}

run "refuses_name_with_capitals" {
  command = plan

  variables {
    name = "Ward"
  }

  expect_failures = [var.name]
}

run "refuses_key_that_is_no_arn" {
  command = plan

  variables {
    kms_key_arn = "alias/ward"
  }

  expect_failures = [var.kms_key_arn]
}

run "refuses_logs_of_a_week" {
  command = plan

  variables {
    log_retention_days = 7
  }

  expect_failures = [var.log_retention_days]
}

run "refuses_no_vpc" {
  command = plan

  variables {
    vpc_id = ""
  }

  expect_failures = [var.vpc_id]
}

run "refuses_one_subnet" {
  command = plan

  variables {
    subnet_ids = ["subnet-1"]
  }

  expect_failures = [var.subnet_ids]
}

run "refuses_no_node_group" {
  command = plan

  variables {
    node_security_group_id = ""
  }

  expect_failures = [var.node_security_group_id]
}

run "refuses_privileged_port" {
  command = plan

  variables {
    gateway_port = 443
  }

  expect_failures = [var.gateway_port]
}

run "refuses_hostname_that_is_a_url" {
  command = plan

  variables {
    hostname = "https://x.example.org"
  }

  expect_failures = [var.hostname]
}

run "refuses_certificate_that_is_no_arn" {
  command = plan

  variables {
    certificate_arn = "x"
  }

  expect_failures = [var.certificate_arn]
}

run "refuses_issuer_without_tls" {
  command = plan

  variables {
    oidc = { issuer = "http://id.example.org", audience = "bedside", scopes = [] }
  }

  expect_failures = [var.oidc]
}

run "refuses_public_inference" {
  command = plan

  variables {
    public_paths = ["/v2/models"]
  }

  expect_failures = [var.public_paths]
}

run "refuses_more_time_than_api_gateway_has" {
  command = plan

  variables {
    limits = { request_seconds = 60, requests_per_second = 50, burst = 100 }
  }

  expect_failures = [var.limits]
}

run "refuses_burst_below_the_rate" {
  command = plan

  variables {
    limits = { request_seconds = 30, requests_per_second = 50, burst = 10 }
  }

  expect_failures = [var.limits]
}
