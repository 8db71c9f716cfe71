"""A virtual host against lists and recursion: any changes in any order, then any message."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from naive_routing import NaiveTopology, traced

from logstore.broker.routing.arguments import NO_ARGUMENTS, Arguments, Field
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.change import NOTHING
from logstore.broker.routing.exchange import PREDEFINED, ExchangeFacts
from logstore.broker.routing.refusals import Inequivalent, NoExchange, NoQueue
from logstore.broker.routing.topology import Topology
from logstore.broker.routing.tracing import BINDING

NAMES = st.sampled_from([b"e", b"f", b"g", b"h"])
QUEUES = st.sampled_from([b"q", b"r", b"a"])
KEYS = st.sampled_from([b"", b"a", b"q", b"r", b"a.b", b"a.b.c", b"b..c"])
PATTERNS = st.one_of(KEYS, st.sampled_from([b"#", b"*", b"a.#", b"#.c", b"*.b", b"#.b.#"]))
ARGUMENTS = st.sampled_from([NO_ARGUMENTS, Arguments.of({b"n": Field("I", 1)})])
SOURCES = st.one_of(NAMES, st.sampled_from([b"amq.topic", b"amq.fanout"]))
BINDINGS = st.one_of(
    st.builds(Binding, SOURCES, QUEUES, PATTERNS, ARGUMENTS),
    st.builds(Binding, SOURCES, SOURCES, PATTERNS, ARGUMENTS, st.just("exchange")),
)


class TopologyMachine(RuleBasedStateMachine):
    """Queues "a" are transient, and so are exchanges "h": nothing of theirs is kept."""

    def __init__(self):
        super().__init__()
        self.topology = Topology()
        self.naive = NaiveTopology()
        for facts in PREDEFINED[1:]:
            self.naive.exchanges[facts.name] = (facts.type_name, False, None)
        self.rows = set()
        self.remembered = set()

    def keep(self, change):
        assert set(change.removed) <= self.rows
        assert not set(change.put) & self.rows
        assert len(set(change.removed)) == len(change.removed)
        self.rows = self.rows - set(change.removed) | set(change.put)

    @rule(
        name=NAMES,
        type_name=st.sampled_from(["direct", "fanout", "topic"]),
        auto_delete=st.booleans(),
        alternate=st.one_of(st.none(), NAMES, st.sampled_from([b"", b"amq.fanout", b"nobody"])),
    )
    def declare(self, name, type_name, auto_delete, alternate):
        arguments = {} if alternate is None else {b"alternate-exchange": Field("S", alternate)}
        facts = ExchangeFacts(
            name, type_name, name != b"h", auto_delete, arguments=Arguments.of(arguments)
        )
        expected = (type_name, auto_delete, alternate)
        if self.naive.exchanges.get(name, expected) != expected:
            try:
                self.topology.declare(facts)
            except Inequivalent:
                return
            raise AssertionError("declared otherwise")
        self.keep(self.topology.declare(facts))
        self.naive.exchanges[name] = expected

    @rule(name=NAMES)
    def delete(self, name):
        before = set(self.naive.exchanges)
        self.naive.delete(name)
        change = self.topology.delete(name)
        self.keep(change)
        assert {it.name for it in change.gone} == before - set(self.naive.exchanges)

    @rule(name=QUEUES)
    def add_queue(self, name):
        if name not in self.naive.queues:
            self.topology.add_queue(name, name, durable=name != b"a")
            self.naive.queues.append(name)

    @precondition(lambda self: self.naive.queues)
    @rule(data=st.data())
    def remove_queue(self, data):
        name = data.draw(st.sampled_from(self.naive.queues))
        self.keep(self.topology.remove_queue(name))
        self.naive.remove_queue(name)

    @rule(binding=BINDINGS)
    def bind(self, binding):
        ends = self.naive.queues if binding.kind == "queue" else self.naive.exchanges
        there = binding.source in self.naive.exchanges and binding.destination in ends
        try:
            change = self.topology.bind(binding)
        except (NoExchange, NoQueue):
            assert not there
            return
        assert there
        self.keep(change)
        if binding in self.naive.bindings:
            assert change == NOTHING
        else:
            self.naive.bindings.append(binding)

    @rule(binding=BINDINGS)
    def unbind_any(self, binding):
        self.unbind(binding)

    @precondition(lambda self: self.naive.bindings)
    @rule(data=st.data())
    def unbind_one(self, data):
        self.unbind(data.draw(st.sampled_from(self.naive.bindings)))

    def unbind(self, binding):
        self.keep(self.topology.unbind(binding))
        self.naive.unbind(binding)

    @rule(exchange=st.one_of(SOURCES, st.just(b"")), keys=st.lists(KEYS, min_size=1, max_size=3))
    def route(self, exchange, keys):
        if exchange != b"" and exchange not in self.naive.exchanges:
            return
        found = self.topology.route(exchange, keys[0], copies=keys[1:])
        assert len(set(found)) == len(found)
        assert set(found) == self.naive.route(exchange, keys)
        self.remembered.add((exchange, keys[0]))
        way = traced(self.topology, exchange, keys)
        assert (set(way.queues), way.cut) == (set(found), False)
        for hop in way.hops:
            if hop.by == BINDING:
                assert set(hop.bindings) == self.naive.matching(hop, keys)
            else:
                assert hop.bindings == ()

    @invariant()
    def what_was_asked_before_is_still_answered_right(self):
        for exchange, key in self.remembered:
            if exchange == b"" or exchange in self.naive.exchanges:
                assert set(self.topology.route(exchange, key)) == self.naive.route(exchange, [key])

    @invariant()
    def both_know_the_same(self):
        assert {it.name for it in self.topology.exchanges()} == {b"", *self.naive.exchanges}
        for name in self.naive.exchanges:
            expected = [it for it in self.naive.bindings if it.source == name]
            assert list(self.topology.bindings_from(name)) == expected
            expected = [
                it for it in self.naive.bindings if (it.kind, it.destination) == ("exchange", name)
            ]
            assert list(self.topology.bindings_to(name, "exchange")) == expected
        for name in self.naive.queues:
            expected = [
                it for it in self.naive.bindings if (it.kind, it.destination) == ("queue", name)
            ]
            assert list(self.topology.bindings_to(name))[1:] == expected

    @rule()
    def restart(self):
        """What is transient is gone, with its bindings; no exchange goes by itself."""
        naive, transient = self.naive, {b"a", b"h"}
        naive.queues = [it for it in naive.queues if it not in transient]
        naive.exchanges = {it: facts for it, facts in naive.exchanges.items() if it != b"h"}
        naive.bindings = [
            it for it in naive.bindings if not {it.source, it.destination} & transient
        ]
        exchanges = [it for it in self.rows if isinstance(it, ExchangeFacts)]
        assert self.rows == {*exchanges, *naive.bindings}
        self.topology, change = Topology.restore(
            exchanges, [(it, it) for it in naive.queues], naive.bindings
        )
        assert change == NOTHING


TopologyMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestTopology = TopologyMachine.TestCase
