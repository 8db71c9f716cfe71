import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.histories.components import components


def reachable(edges, node):
    found, ahead = set(), [node]
    while ahead:
        for it in edges.get(ahead.pop(), ()):
            if it not in found:
                found.add(it)
                ahead.append(it)
    return found


GRAPHS = st.dictionaries(st.integers(0, 9), st.sets(st.integers(0, 9), max_size=4), max_size=10)


@given(GRAPHS)
def test_nodes_that_reach_each_other_are_in_one_component(edges):
    found = components(edges)
    nodes = set(edges).union(*edges.values()) if edges else set()
    assert sorted(it for component in found for it in component) == sorted(nodes)
    of = {node: number for number, them in enumerate(found) for node in them}
    reach = {node: reachable(edges, node) for node in nodes}
    for one in nodes:
        for other in nodes - {one}:
            assert (of[one] == of[other]) == (other in reach[one] and one in reach[other])


def test_a_long_chain_needs_no_deep_stack():
    numbers = list(range(20_000))
    random.Random(3).shuffle(numbers)
    edges = {one: {other} for one, other in pairwise(numbers)}
    assert len(components(edges)) == len(numbers)
    edges[numbers[-1]] = {numbers[0]}
    assert len(components(edges)) == 1
