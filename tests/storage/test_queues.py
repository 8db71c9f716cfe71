"""What is kept of exchanges, queues and bindings."""

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import logstore
from logstore.amqp import fields
from logstore.amqp.fields import Timestamp
from logstore.kept.queues import KeptBinding, KeptExchange, KeptQueue, KeptVhost
from logstore.storage import queues

VHOST = KeptVhost(1, "/")
EXCHANGE = KeptExchange(
    2, 1, "events", "topic", internal=True, arguments={"alternate-exchange": "x"}
)
QUEUE = KeptQueue(
    3, 1, "mail \udcff", arguments={"x-max-priority": 9, "n": [1.5, None, {"a": b"\xff"}]}
)
BINDING = KeptBinding(4, 2, 3, "mail.#", {"at": Timestamp(7), "d": Decimal("1.50"), "t": True})
ALL = (VHOST, EXCHANGE, QUEUE, BINDING)  # fmt: skip


@pytest.fixture
def environment(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        yield store.internals().groups.environment


def change(environment, keep=(), forget=()):
    environment.transact(queues.TABLES, lambda it: queues.change(it, keep, forget))


def kept(environment):
    found = queues.load(environment)
    return [*found.vhosts, *found.exchanges, *found.queues, *found.bindings]


def test_a_new_store_has_none(environment):
    found = queues.load(environment)
    assert (kept(environment), found.next_id, found.damaged) == ([], 1, [])


def test_what_is_kept_is_there_again_with_the_types_of_its_arguments(environment):
    change(environment, ALL)
    assert kept(environment) == list(ALL)
    assert type(kept(environment)[3].arguments["at"]) is Timestamp
    assert queues.load(environment).next_id == 5


def test_a_number_is_never_given_again(environment):
    change(environment, ALL)
    change(environment, (), ALL)
    assert (kept(environment), queues.load(environment).next_id) == ([], 5)
    change(environment, [KeptVhost(2, "lower")])
    assert queues.load(environment).next_id == 5


def test_bindings_of_one_source_stand_together(environment):
    bindings = [KeptBinding(10 - n, n % 3, 7, str(n)) for n in range(9)]
    change(environment, bindings)
    assert [it.source for it in kept(environment)] == sorted(n % 3 for n in range(9))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=60))
def test_a_damaged_row_keeps_nothing_else_from_being_read(environment, data):
    change(environment, ALL)
    for table in (b"vhosts", b"exchanges", b"queues", b"bindings"):
        environment.commit([(table, b"\xff" * 9, data), (table, b"\xff" * 8, data)])
    found = queues.load(environment)
    assert set(map(str, ALL)) <= set(map(str, kept(environment)))
    for error in found.damaged:
        assert str(environment.path) in str(error)
        assert "\n" not in str(error)


def test_a_row_of_another_shape_is_named(environment):
    change(environment, ALL)
    for row in ({"name": 5}, {"name": "n", "vhost": "x"}, {}):
        environment.commit([(b"queues", b"\0" * 7 + b"\x09", fields.table(row))])
        found = queues.load(environment)
        assert [it.id for it in found.queues] == [3]
        assert "queue 0000000000000009 is damaged" in str(found.damaged[0])
