"""AMQP 0-9-1 as bytes: no log, no queue, no connection."""
