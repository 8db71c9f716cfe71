"""Non-durable queues that other nodes of a cluster know and use."""
