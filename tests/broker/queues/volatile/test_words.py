"""What nodes say of volatile queues, as bytes: all of it comes back, and nonsense is refused."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.tables import arguments_of
from logstore.broker.queues.volatile.brought import Brought
from logstore.broker.queues.volatile.told import Told
from logstore.broker.queues.volatile.words import (
    ON,
    Bound,
    Came,
    Gone,
    item_bytes,
    items,
    put,
    put_head,
)
from logstore.broker.routing.binding import Binding
from logstore.errors import BrokenProtocol
from logstore.relay.wire import Source

NAMES = st.binary(max_size=255)
TABLES = st.dictionaries(
    st.text(max_size=9), st.integers(-9, 1 << 30) | st.text(max_size=9) | st.booleans(), max_size=3
).map(arguments_of)
BINDINGS = st.builds(Binding, NAMES, NAMES, NAMES, TABLES, st.just("queue"))
ITEMS = (
    st.builds(
        Came, NAMES, st.integers(0, 1 << 62),
        st.builds(QueueFacts, NAMES, st.just(False), st.booleans(), st.booleans(), TABLES),
    )
    | st.builds(Gone, NAMES, NAMES)
    | st.builds(Bound, NAMES, BINDINGS, st.booleans())
)  # fmt: skip


def read(data):
    return list(items(Source(memoryview(data))))


@settings(max_examples=60)
@given(st.lists(ITEMS, max_size=5))
def test_what_is_said_comes_back(those):
    assert read(b"".join(map(item_bytes, those))) == those


@settings(max_examples=100)
@given(st.binary(max_size=80) | ITEMS.map(lambda it: item_bytes(it)[:-1]))
def test_any_bytes_are_items_or_refused(data):
    with suppress(BrokenProtocol):
        read(data)


@settings(max_examples=60)
@given(st.binary(max_size=80))
def test_a_batch_that_is_none_is_refused(data):
    told = []
    brought = Brought(lambda call: None)
    with pytest.raises(BrokenProtocol):
        brought.put(put_head(b"/", b"q", 7) + data, told.append)
    assert put(put_head(b"/", b"q", 7) + data)[:3] == (b"/", b"q", 7)
    assert told == []


@pytest.mark.parametrize("content", [ON, b"", b"\2", b"\1\1"])
def test_who_asks_on_has_begun(content):
    told = Told(lambda call: None, lambda seconds, call: None)

    class Asking:
        node = b"b"

    with pytest.raises(BrokenProtocol):
        told.ask(Asking(), content, [].append)


def test_what_a_node_asks_for_in_vain_is_refused():
    brought = Brought(lambda call: None)
    for content in (b"", item_bytes(Came(b"/", 1, QueueFacts(b"q")))):
        with pytest.raises(BrokenProtocol):
            brought.change(content, [].append)
