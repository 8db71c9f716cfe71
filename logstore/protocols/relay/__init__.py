"""The link between nodes, at the node that owns queues: other nodes subscribe, fetch and settle."""
