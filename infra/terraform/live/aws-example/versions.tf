terraform {
  required_version = ">= 1.11, < 2.0"

  # The state holds what the site is made of. Fill in with: terraform init -backend-config=backend.hcl
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.28"
    }
  }
}
