"""The golden store with queues: what is in it, and (run as a program) how it was made.

``python -m tests.golden.golden_queues`` writes ``queues.tar.gz`` and ``queues-crashed.tar.gz``
beside this file, with the logstore that is installed, and ``queues.json``: what this logstore finds
in them. They are made once, at the commit that ``queues.json`` names, and never again. The crashed
one is the same, used once more by a process that died: with messages out, and an unclean mark.
"""

import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import logstore
from tests.golden.golden_store import HERE, T0, commit, config_of, open_golden, pack, unpack

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HEADERS = {
    "text": "gr\u00fcn", "yes": True, "n": -5, "large": 2**40, "half": 0.5, "none": None,
    "bytes": b"\xff\0", "at": AT, "list": [1, "two", None], "table": {"deep": {"er": 1}},
}  # fmt: skip


def declared(store):
    events = store.exchange("events", "topic", arguments={"alternate-exchange": "strays"})
    strays = store.exchange("strays", "fanout", auto_delete=True)
    by_header = store.exchange("by-header", "headers")
    by_header.bind(events, "#.important")
    store.queue("spoiled", message_ttl=10**10)
    store.queue("gr\u00fcn").bind(strays)
    mail = store.queue(
        "mail", max_priority=5, dead_letter_exchange="", dead_letter_routing_key="spoiled"
    )
    mail.bind(events, "mail.#").bind(by_header, arguments={"x-match": "all", "yes": True, "n": -5})
    store.queue("limited", max_length=4, overflow="reject-publish")
    store.queue("counted", delivery_limit=10)
    store.queue("drained", expires=10**10)
    store.add_vhost("second")
    store.queue("mail", vhost="second").bind("amq.topic", "#")


def used(store):
    """Messages in every state."""
    events, mail = store.exchange("events"), store.queue("mail")
    for n in range(30):
        events.publish(
            b"%d" % n, f"mail.{n}", headers={"n": n} if n % 3 else None,
            priority=(0, 2, 5)[n % 3], delivery_mode=2,
        )  # fmt: skip
    events.publish(
        b"all there is", "mail.all", headers=HEADERS, content_type="text/plain",
        correlation_id="7", reply_to="me", expiration=10**10, message_id="m", timestamp=AT,
        type="t", app_id="a",
    )  # fmt: skip
    events.publish(b"", "nowhere")  # to the alternate exchange
    store.exchange("amq.topic", vhost="second").publish(b"apart", "x")
    had = [mail.get() for _ in range(14)]
    for message in had[:4] + had[6:9]:
        message.ack()
    had[4].reject()
    had[5].reject()
    had[9].nack()
    for body in (b"1", b"2"):
        store.queue("limited").publish(body, priority=9)
        store.queue("counted").publish(body)
        store.queue("drained").publish(body)
    for _ in range(3):
        store.queue("counted").get().nack()
    while (message := store.queue("drained").get()) is not None:
        message.ack()
    return had


def shown(value):
    """As JSON has it."""
    match value:
        case bytes():
            return {"bytes": value.decode("latin-1")}
        case datetime():
            return {"at": value.isoformat()}
        case dict():
            return {name: shown(it) for name, it in value.items()}
        case list() | tuple():
            return [shown(it) for it in value]
        case _:
            return value


def described(store):
    """All of queues that the library tells. Messages are given out, and are ready afterwards."""
    return {vhost: described_vhost(store, vhost) for vhost in store.vhosts()}


def described_vhost(store, vhost):
    exchanges = [store.exchange(name, vhost=vhost) for name in store.exchanges(vhost=vhost)]
    return {
        "exchanges": {it.name: [it.type, sorted(map(as_json, it.bindings()))] for it in exchanges},
        "queues": {
            name: described_queue(store.queue(name, vhost=vhost))
            for name in store.queues(vhost=vhost)
        },
    }


def as_json(binding):
    return json.dumps(shown(tuple(binding)), ensure_ascii=False)


def described_queue(queue):
    messages = []
    while (message := queue.get()) is not None:
        own = {it: value for it, value in message.properties._asdict().items() if value is not None}
        messages.append([
            message.body.decode("latin-1"), message.exchange, message.key, message.redelivered,
            shown(own),
        ])  # fmt: skip
    return {"arguments": shown(queue.arguments), "messages": messages}


def main():
    with tempfile.TemporaryDirectory() as work:
        directory = Path(work, "queues")
        with open_golden(directory, "write") as store:
            declared(store)
            used(store)
        pack(directory, "queues", HERE / "queues.tar.gz")
        crash(directory)
        pack(directory, "queues-crashed", HERE / "queues-crashed.tar.gz")
    found = {"commit": commit()}
    for name in ("queues", "queues-crashed"):
        with tempfile.TemporaryDirectory() as work, open_golden(unpack(name, work), "write") as it:
            found["schema"] = it.status().schema
            found[name] = described(it)
    lines = json.dumps(found, separators=(",", ":"), ensure_ascii=False).replace("],[", "],\n[")
    (HERE / "queues.json").write_text(lines + "\n")


def crash(directory):
    """A process that dies with messages out."""
    if os.fork() == 0:
        store = logstore.open(directory, "write", config=config_of(directory), clock=lambda: T0)
        had = used(store)
        assert had
        os._exit(0)
    assert os.wait()[1] == 0


if __name__ == "__main__":
    main()
