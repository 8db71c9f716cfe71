"""HTTP/1.1 as bytes, for servers and for clients. No socket, no disk, no clock."""
