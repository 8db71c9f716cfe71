"""The STOMP door."""
