"""Work that outlives a connection: durable jobs, their inputs and results, and the deliveries that follow from them."""
