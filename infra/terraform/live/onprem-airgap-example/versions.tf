terraform {
  required_version = ">= 1.11, < 2.0"

  # The state holds the cluster's authorities and tokens: keep it on an encrypted disk of the administrators, or in a backend that encrypts.
  backend "local" {
    path = "site.tfstate"
  }

  required_providers {
    local = {
      source  = "hashicorp/local"
      version = "~> 2.5"
    }
    random = {
      source  = "hashicorp/random"
      version = "~> 3.7"
    }
    tls = {
      source  = "hashicorp/tls"
      version = "~> 4.1"
    }
  }
}
