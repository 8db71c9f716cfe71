"""Queues over logs: which messages are done with, who has which, and how that is kept.

Pure: no wire, no disk, no clock. A queue has a log for each priority, a *lane*; a message's place
is its lane and its offset there. Nothing here knows what a message says.
"""
