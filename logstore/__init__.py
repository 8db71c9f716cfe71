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

from logstore.broker.consumer import Consumer
from logstore.broker.group import Group, GroupMember, Lag, Move
from logstore.broker.listening import Channel, Listener, Published
from logstore.broker.producer import Producer
from logstore.broker.topic import Position, Topic
from logstore.config import Config
from logstore.errors import LogstoreError
from logstore.records.record import Message, Record
from logstore.store import Status, Store
from logstore.store import open_store as open

__version__ = "0.1.0"

__all__ = [
    "Channel",
    "Config",
    "Consumer",
    "Group",
    "GroupMember",
    "Lag",
    "Listener",
    "LogstoreError",
    "Message",
    "Move",
    "Position",
    "Producer",
    "Published",
    "Record",
    "Status",
    "Store",
    "Topic",
    "open",
]
