"""Exchanges and bindings: which queues a message goes to. Pure: no wire, no disk, no clock.

Names, routing keys, words and texts are bytes: AMQP 0-9-1 allows any 255 of them, no comparison
looks inside, and a published key needs no decoding. They become text where people read them.
"""
