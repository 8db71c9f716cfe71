"""Kafka's transactions: who may write within one, how it ends, and the offsets committed with it.

Pure: no wire, no disk, no clock. Decisions are written to the journal (``operations.py``) and
carried out once they are safe there; the next start rebuilds the state from the journal
(``journaled.py``). The logs know which partitions a transaction has written to.
"""
