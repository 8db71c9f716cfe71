"""Queues that do not outlive a process, where other nodes of a cluster know and use them."""
