"""The Kafka door: its bytes, its sessions, and what each request does."""
