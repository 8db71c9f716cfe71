"""Queues that another node owns, over the link to that node. See ``owner.py``."""
