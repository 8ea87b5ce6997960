output "data_streams" {
  description = "Names of the data streams, by kind."
  value       = module.content.data_streams
}

output "shipper_api_key" {
  description = "API key of the log shippers."
  value       = module.content.shipper_api_key
  sensitive   = true
}
