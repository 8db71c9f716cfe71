"""Delayed messages and records: when each is due, and which are due next."""
