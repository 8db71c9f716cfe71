"""The link between nodes, at the node that owns queues: others subscribe, fetch and settle."""
