# EKS and k3s behind one interface: what is built on a site cannot tell which it is.
mock_provider "aws" {
  source = "../mocks/aws"
}
mock_provider "tls" {}
mock_provider "random" {
  mock_resource "random_password" {
    defaults = { result = "0123456789abcdef0123456789abcdef0123456789abcdef" }
  }
}
mock_provider "local" {}

run "both_give_out_the_same" {
  assert {
    condition     = nonsensitive(keys(output.aws)) == nonsensitive(keys(output.onprem))
    error_message = "Outputs differ."
  }
  assert {
    condition     = alltrue([for name in nonsensitive(keys(output.aws)) : name == "nodes" || nonsensitive(keys(output.aws[name])) == nonsensitive(keys(output.onprem[name]))])
    error_message = "Attributes of an output differ."
  }
  assert {
    condition = output.aws.limits == output.onprem.limits && keys(output.aws.settings) == keys(output.onprem.settings) && (
    [for name, value in output.aws.settings : name if value != output.onprem.settings[name]] == ["BEDSIDE_REFERENCES__BUCKETS"])
    error_message = "Where limits are below API Gateway's, the service runs with the same settings on both, but for the bucket's address."
  }
  assert {
    condition     = output.aws.registry == output.onprem.registry && output.aws.gateway.base_url == output.onprem.gateway.base_url
    error_message = "Callers and releases see the same names."
  }
}
