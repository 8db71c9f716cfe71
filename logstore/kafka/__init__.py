"""Kafka's protocol as bytes: no log, no topic, no connection."""
