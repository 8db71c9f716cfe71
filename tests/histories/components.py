"""The strongly connected components of a graph, by Tarjan's algorithm. Pure."""

from collections.abc import Mapping


def components(edges: Mapping[int, set[int]]) -> list[list[int]]:
    """Each node is in one; a node in a component of its own is in no cycle.

    With a stack of its own: a history has more operations than Python's has room for.
    """
    order: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    found: list[list[int]] = []
    for root in list(edges):
        if root in order:
            continue
        calls = [(root, iter(edges.get(root, ())))]
        order[root] = low[root] = len(order)
        stack.append(root)
        on_stack.add(root)
        while calls:
            node, ahead = calls[-1]
            for it in ahead:
                if it not in order:
                    order[it] = low[it] = len(order)
                    stack.append(it)
                    on_stack.add(it)
                    calls.append((it, iter(edges.get(it, ()))))
                    break
                if it in on_stack:
                    low[node] = min(low[node], order[it])
            else:
                calls.pop()
                if calls:
                    low[calls[-1][0]] = min(low[calls[-1][0]], low[node])
                if low[node] == order[node]:
                    component = [stack.pop()]
                    while component[-1] != node:
                        component.append(stack.pop())
                    on_stack -= set(component)
                    found.append(component)
    return found
