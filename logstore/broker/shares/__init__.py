"""Share groups (KIP-932): members share the records of a partition, and settle each separately.

Pure: no wire, no disk, no clock. Records of a partition are settled as those of a queue
(``broker/queues/settlement.py``); the differences are here.
"""
