"""What is sent again, known by an id that its sender gave it, and kept once.

Pure: knows no log, no exchange and no queue.
"""
