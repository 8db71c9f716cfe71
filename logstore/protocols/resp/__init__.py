"""The Redis door: RESP2 and RESP3, publishing and subscribing, keys and values."""
