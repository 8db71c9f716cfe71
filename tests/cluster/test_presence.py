"""Nodes say that they are there, and hear of each other."""

from logstore.cluster.presence import (
    ADDRESS_BYTES_MAX,
    NODES_MAX,
    SAY_S,
    SILENT_S,
    Presence,
    is_said,
)


class World:
    def __init__(self):
        self.now = 0.0
        self.timers, self.nodes, self.said = [], {}, []

    def node(self, name, address):
        changes = []
        its = Presence(
            name, address, self.say, self.after, lambda: self.now,
            lambda: changes.append(self.now),
        )  # fmt: skip
        its.changes = changes
        self.nodes[name] = its
        self.hear()
        return its

    def say(self, content):
        self.said.append(content)

    def after(self, seconds, call):
        self.timers.append((self.now + seconds, call))

    def hear(self):
        while self.said:
            said, self.said = self.said, []
            for content in said:
                assert is_said(content)
                for it in self.nodes.values():
                    it.heard(content)

    def passes(self, seconds):
        until = self.now + seconds
        while True:
            due = min(self.timers, default=(until + 1, None), key=lambda it: it[0])
            if due[0] > until:
                break
            self.timers.remove(due)
            self.now = due[0]
            due[1]()
            self.hear()
        self.now = until


def test_who_comes_knows_all_and_is_known_at_once():
    world = World()
    found = [world.node(b"n%d" % n, f"host-{n}:1") for n in range(4)]
    for mine, it in enumerate(found):
        assert it.there == {b"n%d" % n: f"host-{n}:1" for n in range(4) if n != mine}


def test_who_is_silent_for_long_is_not_there():
    world = World()
    a, b = world.node(b"a", "a:1"), world.node(b"b", "b:1")
    world.passes(3 * SILENT_S)
    assert set(a.there) == {b"b"}
    b.close()
    world.passes(SILENT_S + SAY_S)
    assert a.there == {}
    assert len(a.changes) == 2


def test_who_comes_again_elsewhere_is_there():
    world = World()
    a = world.node(b"a", "a:1")
    world.node(b"b", "b:1")
    world.node(b"b", "b:2")
    assert a.there == {b"b": "b:2"}


def test_nonsense_is_nobody_and_there_is_an_end_to_nodes():
    world = World()
    a = world.node(b"a", "a:1")
    for content in (
        b"\0here\0", b"\0here\0\0x", b"\0here\0" + b"n" * 250 + b"\0x:1", b"\0here\0a\0other:1",
        b"\0here\0b\0" + b"x" * (ADDRESS_BYTES_MAX + 1),
    ):  # fmt: skip
        a.heard(content)
    assert a.there == {}
    for number in range(NODES_MAX + 5):
        a.heard(b"\0here\0%d\0x:1" % number)
    assert len(a.there) == NODES_MAX
