"""RabbitMQ's management API, so that its tools work unchanged."""
