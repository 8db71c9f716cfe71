"""The RabbitMQ door: AMQP 0-9-1 for what queues do."""
