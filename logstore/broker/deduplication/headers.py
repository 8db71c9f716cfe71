"""Where a message's id is found: in a named header, or in the property message-id. Pure."""

from typing import Final

HEADER: Final = "x-deduplication-header"  # unless another one is said, as in the well-known plugin
MESSAGE_ID: Final = "message-id"
# The type of exchanges that send each message on once.
ONCE: Final = "x-message-deduplication"
# Types whose values cannot be ids, because they would have to be compared in depth.
NO_IDS: Final = frozenset({"array", "table"})
NAME_BYTES_MAX: Final = 255  # of a field's name in AMQP


def is_name(name: bytes) -> bool:
    """Whether a header can have this name, and the name is printable."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return False
    return 0 < len(name) <= NAME_BYTES_MAX and text.isprintable()
