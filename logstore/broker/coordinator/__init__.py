"""Consumer groups: who is a member, who reads which partition, and what has been committed.

Pure state tables: no wire, no disk, no clock. A call gets the time as an argument; an answer that
comes later goes to the ``reply`` given with the call; ``deadline()`` is when ``tick`` is due.
"""
