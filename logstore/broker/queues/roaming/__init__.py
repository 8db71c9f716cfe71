"""Queues of several nodes: any of them takes messages, and one at a time gives them out."""
