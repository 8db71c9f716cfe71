"""The pictures of docs/page.md: ``LOGSTORE_TEST_SHOOT=docs`` in the environment makes them anew."""

import os
import struct
from pathlib import Path

import pytest
from page_store import Store

pytestmark = pytest.mark.foreign

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PICTURES = {
    "page-overview.png": ("#/overview", {}),
    "page-records.png": ("#/topics/flights?text=%22JFK%22", {}),
    "page-routing.png": ("#/routing?x=events&k=order.eu.new", {}),
    "page-group.png": ("#/groups/billing", {"scheme": "dark"}),
}
QUEUES = [
    ("orders.eu", "events", "order.eu.#"),
    ("orders.us", "events", "order.us.#"),
    ("audit", "logs", ""),
]
WINDOW = {"width": 1200, "height": 760}


@pytest.fixture(scope="module")
def flights(tmp_path_factory):
    """Real events, of which a group has read some."""
    running = Store(tmp_path_factory.mktemp("shown") / "data")
    try:
        fill(running)
        yield running
    finally:
        running.stop()


def fill(store):
    lines = store.run_elsewhere("replay", "flights", "--data", REPOSITORY / "segments")
    some = "".join(it + "\n" for it in lines.splitlines()[:6000] if '"tailnum":"' in it)
    store.run("topic", "create", "flights", "--partitions", 3)
    store.run("topic", "create", "aircraft", "--config", "cleanup.policy=compact")
    for topic in ("flights", "aircraft"):
        store.run("produce", topic, "--key-field", "tailnum", "--timestamp-field", "time_hour",
                  fed=some)  # fmt: skip
    store.run("consume", "flights", "--group", "billing", "--max", 3500)
    store.run("exchange", "declare", "events", "--type", "topic")
    store.run("exchange", "declare", "logs", "--type", "fanout")
    store.run("exchange", "bind", "events", "logs", "--to-exchange", "--key", "log.*")
    for name, source, key in QUEUES:
        store.run("queue", "declare", name, "--argument", "x-dead-letter-exchange=events",
                  "--argument", "x-dead-letter-routing-key=log.dead")  # fmt: skip
        store.run("exchange", "bind", source, name, "--key", key)
    for key in ("order.eu.1", "order.eu.2", "order.us.1", "log.in"):
        store.run("exchange", "publish", "events", "--key", key, "--message", "hello")


@pytest.mark.parametrize("name", PICTURES)
def test_the_pictures_of_the_docs(browser, flights, name, tmp_path):
    place, look = PICTURES[name]
    page = browser.page(flights.url, **WINDOW, **look).open(place)
    page.sees("healthy", "#health")
    page.until("!/Looking/.test(document.querySelector('.progress')?.innerText)")
    path = (DOCS if os.environ.get("LOGSTORE_TEST_SHOOT") == "docs" else tmp_path) / name
    page.shoot(path)
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    assert struct.unpack(">II", head[16:24]) == tuple(WINDOW.values())
    assert page.complaints() == []
    assert f"({name})" in (DOCS / "page.md").read_text()
