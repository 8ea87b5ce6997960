terraform {
  required_version = ">= 1.11, < 2.0"

  # The state holds the shippers' API key: an encrypted disk, or a backend that encrypts.
  backend "local" {
    path = "elastic.tfstate"
  }

  required_providers {
    elasticstack = {
      source  = "elastic/elasticstack"
      version = "~> 0.16"
    }
    time = {
      source  = "hashicorp/time"
      version = "~> 0.13"
    }
  }
}
