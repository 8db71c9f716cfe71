"""What is counted as it happens: once a read, a batch or a run, never once a message.

Whoever counts adds to a plain number; whoever wants to know reads it. A counter only rises, but for
``CONFIG RESETSTAT`` of Redis, which counts for itself. Rates and histories are made of what is read
here by ``figures``.
"""
