"""logstore for asyncio: the same library, in an event loop.

    import logstore.aio

    async with logstore.aio.open("data") as store:
        orders = await store.create_topic("orders", partitions=3)
        await orders.append(key=b"k1", value=b"...")
        async with store.consumer("orders", group="billing") as consumer:
            async for record in consumer:
                ...

What is imported from here is promised to stay. Exceptions, and what calls return, are those of
``logstore``.
"""

from typing import TYPE_CHECKING, Any

from logstore.aio.channels import Channel, Listener
from logstore.aio.consumer import Consumer
from logstore.aio.faces import Stream
from logstore.aio.groups import Group
from logstore.aio.producer import Producer
from logstore.aio.store import Store, open
from logstore.aio.topic import Topic

if TYPE_CHECKING:
    from logstore.aio.queues import Exchange, Queue, QueueConsumer, QueueMessage
    from logstore.aio.shares import ShareConsumer
    from logstore.aio.transaction import Transaction

_OF_QUEUES = ("Exchange", "Queue", "QueueConsumer", "QueueMessage")


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import the names of queues when they are first used, because that takes 20 ms."""
    if name in _OF_QUEUES:
        from logstore.aio import queues

        return getattr(queues, name)
    if name == "ShareConsumer":
        from logstore.aio.shares import ShareConsumer

        return ShareConsumer
    if name == "Transaction":
        from logstore.aio.transaction import Transaction

        return Transaction
    raise AttributeError(f"module 'logstore.aio' has no attribute {name!r}")


__all__ = [
    "Channel",
    "Consumer",
    "Exchange",
    "Group",
    "Listener",
    "Producer",
    "Queue",
    "QueueConsumer",
    "QueueMessage",
    "ShareConsumer",
    "Store",
    "Stream",
    "Topic",
    "Transaction",
    "open",
]
