"""RabbitMQ beside ``logstore serve``: one server of each, the same load on both."""
