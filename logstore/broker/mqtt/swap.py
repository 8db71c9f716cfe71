"""Translates MQTT topics to AMQP routing keys and back: swaps slash and dot, plus and star.

The translation is its own inverse, so nothing is lost: ``foo.bar/baz`` is ``foo/bar.baz`` in AMQP,
and has two levels in both protocols. Where RabbitMQ's mapping is lossless, the two are equal.
"""

from typing import Final

_SWAPPED: Final = bytes.maketrans(b"/.+*", b"./*+")


def swap(name: bytes) -> bytes:
    """Return the routing key of a topic, or the topic of a routing key."""
    return name.translate(_SWAPPED)
