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
from logstore.upkeep.jobs import Progress, Retained, Rewritten

__version__ = "0.1.0"

__all__ = [
    "Channel",
    "Chosen",
    "Config",
    "Consumer",
    "Copied",
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
    "Record",
    "Report",
    "Retained",
    "Rewritten",
    "Status",
    "Store",
    "Topic",
    "Trim",
    "open",
]
