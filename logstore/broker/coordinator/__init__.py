"""Consumer groups: their members, assignments and committed offsets.

Pure state tables: no wire, no disk, no clock. A call gets the time as an argument; a later reply
goes to the ``reply`` given with the call; ``deadline()`` is the time at which ``tick`` is due.
"""
