"""Streams: topics under the names of queues, read by AMQP's consumers.

Each consumer has a place of its own in the one partition, and what it acknowledges makes room for
more. A stream is no queue: nothing of it is settled, and nothing is given to one consumer alone.
"""
