"""Members of a share group, by confluent-kafka: the words of ``kafka_shares.py``.

``python -m bench.kafka.share_child ADDRESS TOPIC GROUP MEMBERS COUNT BYTES``: so many members, each
in a thread, accept each record by itself and commit what a poll has given before the next one,
until all of them together have so many. A line of JSON: seconds, from the first record that any has
to when the last is committed; bytes; client_cpu; again: records that came more than once.
"""

import json
import sys
import threading
import time

from confluent_kafka import AcknowledgeType, ShareConsumer
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

PATIENCE_S = 120
POLL_S = 0.5
COMMIT_S = 30


def from_the_start(address: str, group: str) -> None:
    """Make the group read from the first record on."""
    admin = AdminClient({"bootstrap.servers": address})
    entry = ConfigEntry(
        "share.auto.offset.reset", "earliest", incremental_operation=AlterConfigOpType.SET
    )
    resource = ConfigResource(ResourceType.GROUP, group, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(PATIENCE_S)


class Members:
    """All of them, and what they have together."""

    def __init__(self, address: str, topic: str, group: str, count: int) -> None:
        self._settings = {
            "bootstrap.servers": address, "group.id": group,
            "share.acknowledgement.mode": "explicit", "log_level": 3,
        }  # fmt: skip
        self._topic = topic
        self._count = count
        self._lock = threading.Lock()
        self.accepted = self.again = 0
        self.first = self.last = 0.0
        self.over = threading.Event()

    def work(self) -> None:
        consumer = ShareConsumer(self._settings)
        consumer.subscribe([self._topic])
        try:
            while not self.over.is_set():
                self._once(consumer)
        finally:
            consumer.close()

    def _once(self, consumer: ShareConsumer) -> None:
        found = [it for it in consumer.poll(POLL_S) if it.error() is None]
        if not found:
            return
        with self._lock:
            self.first = self.first or time.monotonic()
        for it in found:
            consumer.acknowledge(it, AcknowledgeType.ACCEPT)
        consumer.commit_sync(COMMIT_S)
        with self._lock:
            self.accepted += len(found)
            self.again += sum((it.delivery_count() or 1) > 1 for it in found)
            if self.accepted >= self._count and not self.over.is_set():
                self.last = time.monotonic()
                self.over.set()


def main() -> None:
    address, topic, group, members, count, size = sys.argv[1:]
    from_the_start(address, group)
    its = Members(address, topic, group, int(count))
    threads = [threading.Thread(target=its.work) for _ in range(int(members))]
    for it in threads:
        it.start()
    if not its.over.wait(PATIENCE_S):
        its.over.set()
        raise SystemExit(f"load: {its.accepted} of {count} records were accepted in {PATIENCE_S} s")
    for it in threads:
        it.join()
    print(json.dumps({
        "seconds": its.last - its.first, "bytes": its.accepted * int(size),
        "client_cpu": time.process_time(), "again": its.again,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
