bucket = "example-hospital-terraform"
key    = "radiology-prod/site.tfstate"
region = "eu-central-1"
