# The authorities of a k3s cluster and what is derived from them.
mock_provider "tls" {
  mock_resource "tls_self_signed_cert" {
    defaults = { cert_pem = "-----BEGIN CERTIFICATE-----\nauthority\n-----END CERTIFICATE-----\n" }
  }
}
mock_provider "random" {
  mock_resource "random_password" {
    defaults = { result = "0123456789abcdef0123456789abcdef0123456789abcdef" }
  }
}

variables {
  name = "ward-prod"
}

run "makes_every_authority_that_k3s_asks_for" {
  assert {
    condition = toset(keys(output.files)) == toset([
      "server-ca.crt", "server-ca.key", "client-ca.crt", "client-ca.key", "request-header-ca.crt", "request-header-ca.key",
      "etcd/server-ca.crt", "etcd/server-ca.key", "etcd/peer-ca.crt", "etcd/peer-ca.key", "service.key",
    ])
    error_message = "k3s makes up what is missing, and the kubeconfig no longer fits."
  }
  assert {
    condition     = alltrue([for authority in tls_self_signed_cert.authority : authority.is_ca_certificate && contains(authority.allowed_uses, "cert_signing")])
    error_message = "An authority must be allowed to sign."
  }
  assert {
    condition     = length(distinct([for authority in tls_self_signed_cert.authority : authority.subject[0].common_name])) == 5
    error_message = "Authorities must not share a subject."
  }
}

run "tokens_name_the_authority" {
  assert {
    condition     = output.tokens.server == "K10${sha256(output.ca_certificate)}::server:0123456789abcdef0123456789abcdef0123456789abcdef"
    error_message = "A joining node checks the SHA-256 of the certificate's PEM."
  }
  assert {
    condition     = random_password.server.length >= 32 && random_password.agent.length >= 32
    error_message = "A token must not be guessable."
  }
}

run "administrator_is_a_short_lived_client" {
  assert {
    condition     = tls_cert_request.administrator.subject[0].organization == "system:masters"
    error_message = "The administrator's group is system:masters."
  }
  assert {
    condition     = tls_locally_signed_cert.administrator.validity_period_hours == 720 && !tls_locally_signed_cert.administrator.is_ca_certificate
    error_message = "The administrator's certificate is short-lived and no authority."
  }
  assert {
    condition     = tls_locally_signed_cert.administrator.ca_cert_pem == tls_self_signed_cert.authority["client-ca"].cert_pem
    error_message = "Clients are signed by the client authority."
  }
}

run "refuses_name_with_capitals" {
  command = plan

  variables {
    name = "Ward"
  }

  expect_failures = [var.name]
}

run "refuses_administrator_for_a_year" {
  command = plan

  variables {
    administrator_hours = 8760
  }

  expect_failures = [var.administrator_hours]
}
