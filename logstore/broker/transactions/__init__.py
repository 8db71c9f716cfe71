"""Kafka's transactions: who may write within one, how it ends, and the offsets committed with it.

Pure: no wire, no disk, no clock. What is decided is told to the journal (``operations.py``), and is
done once that is safe there; what the journal has makes the state at the next start
(``journaled.py``). Which partitions a transaction has written to is known to their logs.
"""
