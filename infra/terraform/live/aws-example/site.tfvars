region         = "eu-central-1"
name           = "radiology"
environment    = "prod"
administrators = ["arn:aws:iam::111122223333:role/platform-administrators"]

node_pools = {
  system = { role = "system", min = 2, max = 3, instance_types = ["m7i.large"] }
  cpu    = { role = "inference", min = 1, max = 4, instance_types = ["m7i.2xlarge"] }
  gpu    = { role = "inference", min = 0, max = 2, disk_gib = 200, instance_types = ["g6.xlarge"], gpu = {} }
}

network  = { cidr = "10.20.0.0/16", allowed_cidrs = ["10.9.0.0/16"] }
endpoint = { hostname = "inference.example.org", certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/00000000-0000-0000-0000-000000000000" }
oidc     = { issuer = "https://id.example.org/realms/hospital", scopes = [] }
delivery = { repository = "example-hospital/bedside-site" }
tags     = { CostCentre = "radiology" }
