"""Transactions as they happen: what the journal is told, and what comes to the partitions."""
