"""Arrays of very many elements, written a part a turn, so that no other client waits for them."""

import math
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from logstore.protocols.resp.client import RespClient
from logstore.slices import Steps

AT_ONCE: Final = 2000  # elements
Item = TypeVar("Item")


def plain(items: Sequence[bytes]) -> bytes:
    """Encode items as bulk strings."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(it), it) for it in items])


def say(
    client: RespClient,
    head: bytes,
    items: Sequence[Item],
    written: Callable[[Sequence[Item]], bytes],
) -> Steps | None:
    """Reply with items, which must not change, even if their collection does."""
    if len(items) <= AT_ONCE:
        client.say(head + written(items))
        return None
    return saying(client, head, items, written)


def saying(
    client: RespClient,
    head: bytes,
    items: Sequence[Item],
    written: Callable[[Sequence[Item]], bytes],
    bytes_max: float = math.inf,
) -> Steps:
    """As ``say``, in steps; a client whose reply exceeds ``bytes_max`` is disconnected."""
    parts, size = [head], 0
    for at in range(0, len(items), AT_ONCE):
        some = items[at : at + AT_ONCE]
        parts.append(written(some))
        size += len(parts[-1])
        if size > bytes_max:
            client.cut(f"a reply of over {bytes_max} bytes: half of memory.clients.max.bytes")
            return
        yield len(some)
    client.say(b"".join(parts))
