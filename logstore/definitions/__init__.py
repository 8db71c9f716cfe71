"""RabbitMQ's definitions: users, virtual hosts and all that is in them but messages, as JSON."""
