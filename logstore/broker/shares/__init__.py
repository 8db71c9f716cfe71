"""Share groups (KIP-932): members who share the records of a partition, and settle each by itself.

Pure: no wire, no disk, no clock. What is settled of a partition is as it is of a queue
(``broker/queues/settlement.py``); what differs is here.
"""
