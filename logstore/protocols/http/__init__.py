"""The HTTP API: what no other protocol can say, as routes. Who comes in is trusted."""
