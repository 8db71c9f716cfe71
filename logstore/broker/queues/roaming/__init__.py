"""Queues that several nodes share: each node accepts messages, and one at a time delivers them."""
