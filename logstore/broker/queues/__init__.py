"""Queues over logs: which messages are settled, who holds the others, and how that is stored.

Pure: no wire, no disk, no clock. A queue has a log for each priority, a *lane*; a message's place
is its lane and its offset in it. Nothing here knows the content of messages.
"""
