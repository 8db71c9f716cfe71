"""``logstore shovel``: messages from a queue of one AMQP server into another server.

A message is acknowledged at its source once the target has confirmed it, so whenever this process
dies, each message is in one of the two places, or, for those that were under way, in both.
"""
