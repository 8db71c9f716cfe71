"""The Kafka door: its bytes, its sessions, and the handlers of its requests."""
