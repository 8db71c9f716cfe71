"""Adds the header ``x-stream-offset`` to a message's properties. Pure.

The same properties occur again and again, so the position of the offset's eight bytes in them is
remembered.
"""

from struct import Struct
from typing import Final

from logstore.amqp import fields, properties

HEADER: Final = "x-stream-offset"
REMEMBERED_MAX: Final = 4096
REMEMBERED_BYTES_MAX: Final = 1024

_OFFSET: Final = Struct(">q")


class OffsetHeader:
    """Adds the header, and remembers recent results."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[bytes, bytes]] = {}

    def put(self, data: bytes, offset: int) -> bytes:
        """Return the properties with this offset, which replaces an existing one."""
        known = self._known.get(data)
        if known is None:
            known = _around(data)
            if len(data) <= REMEMBERED_BYTES_MAX:
                if len(self._known) >= REMEMBERED_MAX:
                    self._known.clear()
                self._known[data] = known
        return known[0] + _OFFSET.pack(offset) + known[1]


def _around(data: bytes) -> tuple[bytes, bytes]:
    """Return the bytes before and behind the offset, which is the last entry of the table."""
    found = properties.read(data)
    headers = {name: it for name, it in (found.headers or {}).items() if name != HEADER}
    whole = properties.write(found._replace(headers={**headers, HEADER: fields.Long(0)}))
    _, _, end = properties.read_around(whole)
    return whole[: end - _OFFSET.size], whole[end:]
