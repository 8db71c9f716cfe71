"""Deduplication: a message that is sent again is recognised by its id and stored once.

Pure: knows no log, no exchange and no queue.
"""
