# The authorities that k3s would make up by itself at its first start. Made here, the kubeconfig exists before the cluster does, so
# that nobody has to log in to a machine to fetch it, and join tokens name the authority (docs.k3s.io/cli/token, "secure").
locals {
  # File below server/tls, and the name that k3s gives the authority.
  authorities = {
    "server-ca"         = "k3s-server-ca"
    "client-ca"         = "k3s-client-ca"
    "request-header-ca" = "k3s-request-header-ca"
    "etcd/server-ca"    = "etcd-server-ca"
    "etcd/peer-ca"      = "etcd-peer-ca"
  }
  ten_years = 87600
  hash      = sha256(tls_self_signed_cert.authority["server-ca"].cert_pem)
}

resource "tls_private_key" "authority" {
  for_each = local.authorities

  algorithm   = "ECDSA"
  ecdsa_curve = "P256"
}

resource "tls_self_signed_cert" "authority" {
  for_each = local.authorities

  private_key_pem       = tls_private_key.authority[each.key].private_key_pem
  is_ca_certificate     = true
  validity_period_hours = local.ten_years
  allowed_uses          = ["cert_signing", "crl_signing", "key_encipherment", "digital_signature"]
  set_subject_key_id    = true

  subject {
    common_name  = "${each.value}@${var.name}"
    organization = "Bedside"
  }
}

# Signs the tokens of service accounts.
resource "tls_private_key" "service" {
  algorithm = "RSA"
  rsa_bits  = 3072
}

resource "tls_private_key" "administrator" {
  algorithm   = "ECDSA"
  ecdsa_curve = "P256"
}

resource "tls_cert_request" "administrator" {
  private_key_pem = tls_private_key.administrator.private_key_pem

  subject {
    common_name  = "terraform"
    organization = "system:masters"
  }
}

resource "tls_locally_signed_cert" "administrator" {
  cert_request_pem      = tls_cert_request.administrator.cert_request_pem
  ca_private_key_pem    = tls_private_key.authority["client-ca"].private_key_pem
  ca_cert_pem           = tls_self_signed_cert.authority["client-ca"].cert_pem
  validity_period_hours = var.administrator_hours
  early_renewal_hours   = max(1, floor(var.administrator_hours / 3))
  allowed_uses          = ["client_auth", "digital_signature"]
}

resource "random_password" "server" {
  length  = 48
  special = false
}

resource "random_password" "agent" {
  length  = 48
  special = false
}
