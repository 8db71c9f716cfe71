"""The link between nodes, as bytes and as a conversation: no queues, no sockets, no clock."""
