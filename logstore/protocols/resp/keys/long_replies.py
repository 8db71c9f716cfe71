"""Arrays of very many elements, written a part a turn, so that nobody else waits for them."""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from logstore.protocols.resp.client import RespClient
from logstore.slices import Steps

AT_ONCE: Final = 2000  # elements
Item = TypeVar("Item")


def plain(items: Sequence[bytes]) -> bytes:
    """Bulk strings."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(it), it) for it in items])


def say(
    client: RespClient,
    head: bytes,
    items: Sequence[Item],
    written: Callable[[Sequence[Item]], bytes],
) -> Steps | None:
    """``items`` change no more, whatever becomes of what they were taken from."""
    if len(items) <= AT_ONCE:
        client.say(head + written(items))
        return None
    return _in_parts(client, head, items, written)


def _in_parts(
    client: RespClient,
    head: bytes,
    items: Sequence[Item],
    written: Callable[[Sequence[Item]], bytes],
) -> Steps:
    parts = [head]
    for at in range(0, len(items), AT_ONCE):
        some = items[at : at + AT_ONCE]
        parts.append(written(some))
        yield len(some)
    client.say(b"".join(parts))
