# The VPC: nothing public but NAT, nothing open but HTTPS to endpoints.
mock_provider "aws" {
  source = "../../../tests/mocks/aws"
}
provider "aws" {
  alias                       = "offline"
  region                      = "eu-central-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

variables {
  name               = "ward-prod"
  cidr               = "10.20.0.0/16"
  internet_egress    = true
  kms_key_arn        = "arn:aws:kms:eu-central-1:111122223333:key/1"
  log_retention_days = 365
}

run "spreads_over_zones_without_public_addresses" {
  assert {
    condition     = [for subnet in aws_subnet.private : subnet.cidr_block] == ["10.20.0.0/20", "10.20.16.0/20", "10.20.32.0/20"]
    error_message = "One private subnet per zone."
  }
  assert {
    condition     = alltrue([for subnet in concat(values(aws_subnet.private), values(aws_subnet.public)) : subnet.map_public_ip_on_launch != true])
    error_message = "No machine gets a public address."
  }
  assert {
    condition     = length(aws_nat_gateway.this) == 3 && alltrue([for zone, route in aws_route.nat : route.nat_gateway_id == aws_nat_gateway.this[zone].id])
    error_message = "Each zone leaves through its own NAT gateway."
  }
  assert {
    condition     = alltrue([for association in aws_route_table_association.private : contains([for table in aws_route_table.private : table.id], association.route_table_id)])
    error_message = "Private subnets must not use the public route table."
  }
}

run "opens_https_from_the_vpc_alone" {
  assert {
    condition     = aws_vpc_security_group_ingress_rule.endpoints.cidr_ipv4 == "10.20.0.0/16" && aws_vpc_security_group_ingress_rule.endpoints.from_port == 443 && aws_vpc_security_group_ingress_rule.endpoints.to_port == 443
    error_message = "Endpoints answer the VPC, by HTTPS."
  }
  assert {
    condition     = try(length(aws_default_security_group.this.ingress), 0) == 0 && try(length(aws_default_security_group.this.egress), 0) == 0
    error_message = "The default group must be without rules."
  }
  assert {
    condition     = alltrue([for endpoint in aws_vpc_endpoint.interface : endpoint.private_dns_enabled])
    error_message = "Without private DNS, the SDKs would go past the endpoints."
  }
}

run "s3_takes_nothing_away_from_the_account" {
  command   = plan
  providers = { aws = aws.offline }

  override_data {
    target = data.aws_caller_identity.this
    values = { account_id = "111122223333" }
  }

  assert {
    condition = alltrue([for statement in jsondecode(data.aws_iam_policy_document.s3.json).Statement :
    statement.Action == "s3:GetObject" || try(statement.Condition.StringEquals["aws:ResourceAccount"], "") == "111122223333"])
    error_message = "Another account's buckets are read at the most: ${data.aws_iam_policy_document.s3.json}"
  }
}

run "s3_has_the_policy_and_says_where_it_is" {
  assert {
    condition     = aws_vpc_endpoint.s3.policy == data.aws_iam_policy_document.s3.json && length(output.s3_cidrs) == 2
    error_message = "Without addresses no pod could be let out to it."
  }
}

run "logs_flows_encrypted" {
  assert {
    condition     = aws_flow_log.this.traffic_type == "ALL" && aws_cloudwatch_log_group.flow.kms_key_id == var.kms_key_arn && aws_cloudwatch_log_group.flow.retention_in_days == 365
    error_message = "Flow logs are complete, encrypted and kept."
  }
}

run "without_egress_there_is_no_way_out" {
  variables {
    internet_egress = false
  }

  assert {
    condition     = length(aws_internet_gateway.this) + length(aws_nat_gateway.this) + length(aws_subnet.public) + length(aws_route.nat) == 0
    error_message = "Without egress there must be no gateway, no NAT, no public subnet."
  }
  assert {
    condition     = toset(["ecr.api", "ecr.dkr", "eks", "eks-auth", "sts", "ec2", "logs", "kms", "elasticloadbalancing", "secretsmanager"]) == toset(keys(aws_vpc_endpoint.interface))
    error_message = "A node without egress does not come up when an endpoint is missing."
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

run "refuses_network_too_small" {
  command = plan

  variables {
    cidr = "10.20.0.0/24"
  }

  expect_failures = [var.cidr]
}

run "refuses_one_zone" {
  command = plan

  variables {
    zones = 1
  }

  expect_failures = [var.zones]
}

run "refuses_boundary_by_name" {
  command = plan

  variables {
    permissions_boundary_arn = "boundary"
  }

  expect_failures = [var.permissions_boundary_arn]
}

run "every_role_is_under_the_boundary" {
  variables {
    permissions_boundary_arn = "arn:aws:iam::111122223333:policy/boundary"
  }

  assert {
    condition     = alltrue([for role in [aws_iam_role.flow] : role.permissions_boundary == var.permissions_boundary_arn])
    error_message = "A role without the boundary could not be made by the role that applies, and must not be."
  }
}
