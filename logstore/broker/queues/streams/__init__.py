"""Streams: topics under the names of queues, read by AMQP consumers.

Each consumer has its own position in the single partition, and its acknowledgements make room for
more messages. A stream is not a queue: no message is settled, and every consumer gets every
message.
"""
