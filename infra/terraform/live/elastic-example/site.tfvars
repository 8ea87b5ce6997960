elasticsearch = ["https://elasticsearch.hospital.example:9200"]
kibana        = "https://kibana.hospital.example"
