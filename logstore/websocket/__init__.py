"""WebSocket (RFC 6455) as bytes: no socket, no session of what travels in it."""
