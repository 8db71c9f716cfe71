"""Circles through topics, in small graphs that are compared with every way there is."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.queues.crossing.circles import Node, circle

NODES = [Node("topic", b"t"), Node("topic", b"u")] + [
    Node("exchange", name, b"/") for name in (b"a", b"b", b"c")
]
EDGES = st.sets(st.tuples(st.sampled_from(NODES), st.sampled_from(NODES)), max_size=12)


def closed(edges, begin):
    """All that is reached, with whether a topic was on some way there."""
    reached = {(begin, begin.kind == "topic")}
    while True:
        more = {
            (to, by or to.kind == "topic") for at, to in edges for node, by in reached if node == at
        }
        if more <= reached:
            return reached
        reached |= more


@given(EDGES, st.sampled_from(NODES), st.sampled_from(NODES))
def test_a_circle_is_found_where_there_is_one(edges, begin, end):
    def ways(node):
        return [to for at, to in sorted(edges) if at == node]

    way = circle(begin, end, ways)
    assert (way is not None) == ((end, True) in closed(edges, begin))
    if way is not None:
        assert (way[0], way[-1]) == (begin, end)
        assert any(it.kind == "topic" for it in way)
        assert all((at, to) in edges for at, to in pairwise(way))


def test_nodes_are_named_as_people_know_them():
    assert str(Node("topic", b"t")) == "topic t"
    assert str(Node("exchange", b"e", b"/")) == "exchange 'e'"
    assert str(Node("exchange", b"e", b"v")) == "exchange 'e' in vhost 'v'"
