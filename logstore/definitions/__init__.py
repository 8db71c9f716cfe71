"""RabbitMQ's definitions as JSON: users, virtual hosts and their contents, except messages."""
