"""logstore: a durable, disk-backed commit log.

    import logstore

    with logstore.open("data") as store:
        store.create_topic("orders", partitions=3)
        store.topic("orders").append(key=b"k1", value=b"...")
        with store.consumer("orders", group="billing") as consumer:
            for record in consumer:
                ...

What is imported from here, and what ``logstore.errors`` holds, is promised to stay; anything deeper
may move.
"""

from typing import TYPE_CHECKING, Any

from logstore.broker.consumer import Consumer
from logstore.broker.group import Group, GroupMember, Lag, Move
from logstore.broker.listening import Channel, Listener, Published
from logstore.broker.producer import Producer
from logstore.broker.topic import Position, Topic
from logstore.broker.trimming import Trim
from logstore.config import Chosen, Config
from logstore.errors import LogstoreError
from logstore.owner import Owner
from logstore.records.record import Message, Record
from logstore.storage.directory import LogSize
from logstore.storage.status import Status
from logstore.storage.verify import Report
from logstore.store import Store
from logstore.store import open_store as open
from logstore.upkeep.backup import Copied
from logstore.upkeep.job import Progress, Retained, Rewritten
from logstore.version import VERSION

if TYPE_CHECKING:
    from logstore.broker.queues.handles import Exchange, Queue, QueueBinding, QueueCounts, Routed
    from logstore.broker.queues.received import QueueConsumer, QueueMessage
    from logstore.broker.shared.share_consumer import ShareConsumer, ShareRecord
    from logstore.store_transaction import Transaction

__version__ = VERSION

_OF_QUEUES = {
    "Exchange": "broker.queues.handles",
    "Queue": "broker.queues.handles",
    "QueueBinding": "broker.queues.handles",
    "QueueConsumer": "broker.queues.received",
    "QueueCounts": "broker.queues.handles",
    "QueueMessage": "broker.queues.received",
    "Routed": "broker.queues.handles",
    "ShareConsumer": "broker.shared.share_consumer",
    "ShareRecord": "broker.shared.share_consumer",
    "Transaction": "store_transaction",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """What belongs to queues is imported when it is asked for: it takes 20 ms. So is ``aio``."""
    if name == "aio":
        from importlib import import_module

        return import_module("logstore.aio")
    if name in _OF_QUEUES:
        from importlib import import_module

        return getattr(import_module(f"logstore.{_OF_QUEUES[name]}"), name)
    raise AttributeError(f"module 'logstore' has no attribute {name!r}")


__all__ = [
    "Channel",
    "Chosen",
    "Config",
    "Consumer",
    "Copied",
    "Exchange",
    "Group",
    "GroupMember",
    "Lag",
    "Listener",
    "LogSize",
    "LogstoreError",
    "Message",
    "Move",
    "Owner",
    "Position",
    "Producer",
    "Progress",
    "Published",
    "Queue",
    "QueueBinding",
    "QueueConsumer",
    "QueueCounts",
    "QueueMessage",
    "Record",
    "Report",
    "Retained",
    "Rewritten",
    "Routed",
    "ShareConsumer",
    "ShareRecord",
    "Status",
    "Store",
    "Topic",
    "Transaction",
    "Trim",
    "open",
]
