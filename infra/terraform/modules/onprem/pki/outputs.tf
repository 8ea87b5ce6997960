output "files" {
  description = "PEM by file name below /var/lib/rancher/k3s/server/tls."
  value = merge(
    { for name in keys(local.authorities) : "${name}.crt" => tls_self_signed_cert.authority[name].cert_pem },
    { for name in keys(local.authorities) : "${name}.key" => tls_private_key.authority[name].private_key_pem },
    { "service.key" = tls_private_key.service.private_key_pem },
  )
  sensitive = true
}

output "tokens" {
  description = "Join tokens of servers and agents, with the hash of the server authority's certificate."
  value = {
    server = "K10${local.hash}::server:${random_password.server.result}"
    agent  = "K10${local.hash}::node:${random_password.agent.result}"
  }
  sensitive = true
}

output "ca_certificate" {
  description = "PEM of the authority of the Kubernetes API."
  value       = tls_self_signed_cert.authority["server-ca"].cert_pem
}

output "administrator" {
  description = "PEM of a client certificate of system:masters, and of its key."
  value = {
    certificate = tls_locally_signed_cert.administrator.cert_pem
    key         = tls_private_key.administrator.private_key_pem
  }
  sensitive = true
}
