"""The golden store of joined models: what is in it, and (run as a program) how it was made.

``python -m tests.golden.golden_joined`` writes ``joined.tar.gz`` beside this file, with the
logstore that is installed, and ``joined.json``: what this logstore finds in it. It is made once,
at the commit that ``joined.json`` names, and never again.
"""

import json
import tempfile
from pathlib import Path

from tests.golden.golden_queues import described_queue
from tests.golden.golden_store import HERE, HOUR_MS, T0, commit, open_golden, pack, unpack

LATER = T0 + 30 * 24 * HOUR_MS
LONG_MS = 10**12  # nothing of it is gone by the time somebody looks


def declared(store):
    store.create_topic("audit", 2)
    store.create_topic("flights", 1)
    store.create_topic("orders", 1, settings={"delivery.schedule": "true"})
    store.create_topic(
        "payments", 1,
        settings={"deduplication.header": "id", "deduplication.window.ms": str(LONG_MS)},
    )  # fmt: skip
    store.exchange("events", "topic")
    store.exchange("audit", "x-topic").bind("events", "audit.#")
    store.exchange("news", "x-channel").bind("events", "news.#")
    later = store.exchange("later", "x-delayed-message", arguments={"x-delayed-type": "direct"})
    once = store.exchange(
        "once", "x-message-deduplication",
        arguments={"x-cache-size": 1000, "x-cache-ttl": LONG_MS},
    )  # fmt: skip
    store.queue("mail", arguments={"x-retention-ms": LONG_MS}).bind(later, "mail").bind(
        "events", "mail.#"
    )
    store.queue("single", arguments={"x-message-deduplication": True}).bind(once, "single")
    store.queue("ordered", arguments={"x-ordering-key": "header:x-customer"})
    store.queue("stream", arguments={"x-queue-type": "stream"}).bind("events", "stream.#")
    store.set_policy("short", "^mail$", {"max-length": 500}, priority=3, apply_to="queues")
    store.set_policy("strays", "^events$", {"alternate-exchange": "amq.fanout"})


def used(store):
    events, later, once = (store.exchange(it) for it in ("events", "later", "once"))
    for n in range(3):
        for kind in ("audit", "news", "mail", "stream"):
            events.publish(b"%d" % n, f"{kind}.{n}", headers={"n": n})
        later.publish(b"late %d" % n, "mail", headers={"x-deliver-at": LATER + n})
        once.publish(b"one", "single", headers={"x-deduplication-header": "1"})
        store.queue("ordered").publish(b"%d" % n, headers={"x-customer": str(n % 2)})
        store.topic("payments").append(b"paid", headers={"id": b"%d" % (n % 2)})
        store.topic("orders").append(b"%d" % n, deliver_at=LATER + n)
        store.topic("flights").append(b"%d" % n, b"AF%d" % n)
    for _ in range(2):
        store.queue("mail").get().ack()
    store.queue("mail").publish(b"purged")
    store.queue("mail").purge()
    store.queue("mail").publish(b"ready")
    store.route_topic("flights", "events", key="stream.{key}")
    while store.topic_routes()[0].lag != 0:  # what has come is noted after that
        pass


def described(store):
    return {
        "queues": {
            name: described_queue(store.queue(name)) for name in ("mail", "single", "ordered")
        },
        "past": [[it.body.decode(), it.state] for it in store.queue("mail").history()],
        "topics": {
            name: [it.value.decode() for it in store.consumer(name)]
            for name in ("audit", "payments", "orders", "flights", "stream")
        },
        "waiting": [
            [[it.offset, it.due_ms] for it in store.exchange("later").scheduled()],
            [[it.offset, it.due_ms] for it in store.scheduled("orders")],
        ],
        "policies": [[it.name, dict(it.definition)] for it in store.policies()],
        "routes": [[it.topic, it.exchange, it.key] for it in store.topic_routes()],
    }


def main():
    with tempfile.TemporaryDirectory() as work:
        directory = Path(work, "joined")
        with open_golden(directory, "write") as store:
            declared(store)
            used(store)
        pack(directory, "joined", HERE / "joined.tar.gz")
    with tempfile.TemporaryDirectory() as work, open_golden(unpack("joined", work), "write") as it:
        found = {"commit": commit(), "schema": it.status().schema, "joined": described(it)}
    (HERE / "joined.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
