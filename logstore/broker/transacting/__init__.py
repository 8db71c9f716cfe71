"""Transactions in operation: entries of the journal, and writes to partitions."""
