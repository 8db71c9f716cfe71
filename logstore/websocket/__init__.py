"""WebSocket (RFC 6455) as bytes: no socket, no inner protocol."""
