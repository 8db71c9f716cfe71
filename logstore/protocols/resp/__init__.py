"""The Redis door: RESP2 and RESP3, as far as publishing and subscribing go."""
