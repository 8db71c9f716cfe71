"""Random elements of collections of any size: SRANDMEMBER, HRANDFIELD, ZRANDMEMBER."""

from collections.abc import Callable, Generator, Sequence
from typing import Final

from logstore.broker.keys.collection import some_of
from logstore.protocols.resp.client import RespClient
from logstore.protocols.resp.keys.long_replies import Item, saying
from logstore.protocols.resp.keys.reach import CHANCE
from logstore.protocols.resp.wrong import Wrong
from logstore.slices import Steps

DRAWN_MAX: Final = 1 << 20  # the count alone decides, even for a small collection


def places(size: int, asked: int) -> Generator[int, None, list[int]]:
    """Up to ``asked`` distinct random places; if negative, exactly that many with repetition."""
    if -asked > DRAWN_MAX:
        raise Wrong(f"value is out of range: at most {DRAWN_MAX} may be drawn")
    found: list[int] = []
    moved: dict[int, int] = {}  # as if drawn places were moved to the front
    for some in some_of(range(min(asked, size) if asked > 0 else -asked)):
        for at in some:
            if asked < 0:
                found.append(int(CHANCE.random() * size))
                continue
            place = at + int(CHANCE.random() * (size - at))
            found.append(moved.get(place, place))
            moved[place] = moved.get(at, at)
        yield len(some)
    return found


def say_drawn(
    client: RespClient,
    head: bytes,
    items: Sequence[Item],
    written: Callable[[Sequence[Item]], bytes],
) -> Steps:
    """As ``saying``, with a limit, because repeated draws may exceed the memory."""
    yield from saying(client, head, items, written, client.door.budget.request_bytes_max)
