"""The HTTP door: the page, our own API, RabbitMQ's, and metrics; a row of rights for each route."""
