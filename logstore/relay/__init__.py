"""The link between nodes, as bytes and as a protocol: no queues, no sockets, no clock."""
