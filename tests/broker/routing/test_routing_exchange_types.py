"""The types of exchanges: chance, and those that another package brings."""

import importlib.metadata
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from logstore.broker.routing.arguments import Arguments, Field
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import ExchangeFacts
from logstore.broker.routing.refusals import UnknownType
from logstore.broker.routing.topology import Topology

PAGE = Path(__file__).parents[3] / "docs" / "exchange-types.md"


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A folder of packages into which pip has put the one that the page shows."""
    project = tmp_path_factory.mktemp("project")
    text = PAGE.read_text()
    for language, name in (("python", "exchange_by_length.py"), ("toml", "pyproject.toml")):
        [block] = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        (project / name).write_text(block)
    folder = tmp_path_factory.mktemp("packages")
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
            "--no-index", "--no-deps", "--no-build-isolation", "--target", folder, project,
        ],
        check=True,
    )  # fmt: skip
    return folder


@pytest.fixture
def installed(packages, monkeypatch):
    monkeypatch.syspath_prepend(packages)
    yield
    sys.modules.pop("exchange_by_length", None)


def by_length(**arguments):
    return ExchangeFacts(b"e", "x-by-length", **arguments)


@pytest.mark.long
def test_a_type_from_another_package_is_used_like_ours(installed):
    topology = Topology()
    topology.declare(by_length(arguments=Arguments.of({b"x-least": Field("I", 2)})))
    for queue in (b"a", b"bb"):
        topology.add_queue(queue, queue, durable=True)
        topology.bind(Binding(b"e", queue, queue))
    assert topology.route(b"e", b"xy") == (b"bb",)
    assert topology.route(b"e", b"x") == ()
    topology.remove_queue(b"bb")
    assert topology.route(b"e", b"xy") == ()


def test_types_of_others_are_looked_for_only_when_one_is_declared(installed, monkeypatch):
    looked = []
    entry_points = importlib.metadata.entry_points
    monkeypatch.setattr(
        importlib.metadata,
        "entry_points",
        lambda **which: looked.append(which) or entry_points(**which),
    )
    topology = Topology()
    for number, name in enumerate(
        ["direct", "fanout", "topic", "headers", "x-consistent-hash", "x-random"]
    ):
        topology.declare(ExchangeFacts(b"%d" % number, name))
    assert looked == []
    assert "exchange_by_length" not in sys.modules
    topology.declare(by_length())
    assert looked == [{"group": "logstore.exchanges", "name": "x-by-length"}]


def test_a_kept_exchange_whose_type_is_gone_keeps_its_bindings_until_it_is_back():
    facts = by_length()
    bindings = [Binding(b"e", b"a", b"k"), Binding(b"amq.fanout", b"e", kind="exchange")]
    topology, lost = Topology.restore([facts], [(b"a", "a")], bindings)
    assert not lost
    assert list(topology.bindings_from(b"e")) == bindings[:1]
    for exchange in (b"e", b"amq.fanout"):
        with pytest.raises(UnknownType) as refused:
            topology.route(exchange, b"k")
        assert refused.value.type_name == "x-by-length"
    with pytest.raises(UnknownType):
        topology.declare(facts)
    assert topology.unbind(bindings[0]).removed == (bindings[0],)
    assert topology.delete(b"e").gone == (facts,)


def test_a_kept_exchange_of_an_installed_type_works_as_before(installed):
    topology, _ = Topology.restore([by_length()], [(b"a", "a")], [Binding(b"e", b"a", b"k")])
    assert topology.route(b"e", b"x") == ("a",)


def test_chance_is_asked_once_for_each_message_and_never_remembered():
    asked = []
    topology = Topology(choose=lambda count: asked.append(count) or len(asked) % count)
    topology.declare(ExchangeFacts(b"e", "x-random"))
    assert topology.route(b"e", b"k") == ()
    for queue in (b"a", b"b", b"c"):
        topology.add_queue(queue, queue, durable=True)
        topology.bind(Binding(b"e", queue, b"ignored"))
    found = [topology.route(b"e", b"k") for _ in range(6)]
    assert asked == [3] * 6
    assert Counter(found) == {(b"a",): 2, (b"b",): 2, (b"c",): 2}
    topology.remove_queue(b"a")
    assert {topology.route(b"e", b"k") for _ in range(4)} == {(b"b",), (b"c",)}
    topology.remove_queue(b"b")
    topology.remove_queue(b"c")
    assert topology.route(b"e", b"k") == ()
    assert asked == [3] * 6 + [2] * 4


def test_a_queue_bound_twice_has_two_chances():
    bindings = [Binding(b"e", b"a", b"1"), Binding(b"e", b"a", b"2"), Binding(b"e", b"b", b"3")]
    topology = Topology(choose=each_in_turn())
    topology.declare(ExchangeFacts(b"e", "x-random"))
    for queue in (b"a", b"b"):
        topology.add_queue(queue, queue, durable=True)
    for binding in bindings:
        topology.bind(binding)
    assert Counter(topology.route(b"e", b"") for _ in range(3)) == {(b"a",): 2, (b"b",): 1}
    topology.unbind(bindings[0])
    assert Counter(topology.route(b"e", b"") for _ in range(2)) == {(b"a",): 1, (b"b",): 1}


def each_in_turn():
    turn = 0

    def choose(count):
        nonlocal turn
        turn += 1
        return turn % count

    return choose
