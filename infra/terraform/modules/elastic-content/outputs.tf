output "data_streams" {
  description = "Names of the data streams, by kind."
  value       = { for kind, stream in local.streams : kind => stream.pattern }
}

output "shipper_api_key" {
  description = "API key of the log shippers, base64 of id:key, as Filebeat and Elastic Agent take it."
  value       = elasticstack_elasticsearch_security_api_key.shipper.encoded
  sensitive   = true
}
