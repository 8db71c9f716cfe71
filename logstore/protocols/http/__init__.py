"""The HTTP door: the page, logstore's own API, RabbitMQ's API, and metrics."""
