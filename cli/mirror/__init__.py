"""``logstore mirror``: topics and groups from one side to another.

Before records are written to the target, it is noted durably where they will stand (``journal``).
So the target's own end tells, whenever this process dies, what of it has been copied: exactly what
lies below. What is noted above the end never came there, and is copied again.
"""
