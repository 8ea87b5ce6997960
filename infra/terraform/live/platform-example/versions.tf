terraform {
  required_version = ">= 1.11, < 2.0"

  # Beside the site's own: the AWS example's bucket, or an encrypted disk (see the site's versions.tf).
  backend "local" {
    path = "platform.tfstate"
  }

  required_providers {
    helm = {
      source  = "hashicorp/helm"
      version = "~> 3.0"
    }
    kubernetes = {
      source  = "hashicorp/kubernetes"
      version = "~> 3.0"
    }
  }
}
