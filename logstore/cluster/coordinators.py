"""Finds the broker that coordinates a group or a transactional id, and sends it requests.

A coordinator is looked up when it is needed, and again when it does not reply or says that it is
not the coordinator. The caller is told of the failure, and asks again.
"""

from collections.abc import Callable
from typing import Any, Final

from logstore.cluster import kinds
from logstore.cluster.brokers import Brokers, Use
from logstore.cluster.kinds import Kind
from logstore.cluster.link import Answer
from logstore.errors import ClusterUnreachable, LogstoreError, NotSpoken

GROUP: Final = 0
TRANSACTION: Final = 1
FIND_S: Final = 5.0  # any broker knows it, so another is asked soon


def find(
    brokers: Brokers, name: str, kind: int, then: Callable[[int | LogstoreError], None]
) -> None:
    """Find the node that coordinates it."""
    request = kinds.FIND_COORDINATOR.messages().Request(
        key=name, key_type=kind, coordinator_keys=[name]
    )

    def found(answer: Any) -> None:  # noqa: ANN401
        if isinstance(answer, LogstoreError):
            then(answer)
            return
        it = answer.coordinators[0] if answer.coordinators else answer
        if it.error_code:
            then(ClusterUnreachable(f"no broker coordinates {name!r}: error {it.error_code}"))
        else:
            then(it.node_id)

    brokers.ask_any(kinds.FIND_COORDINATOR, request, found, seconds=FIND_S)


class GroupCoordinator:
    """The coordinator of one group. Used in one thread."""

    def __init__(self, brokers: Brokers, group: str, use: Use) -> None:
        """``use``: a connection for this group alone, because its requests may wait for members."""
        self.group = group
        self.brokers = brokers
        self._use = use
        self._node: int | None = None

    def ask(self, kind: Kind, request: Any, then: Answer, seconds: float) -> None:  # noqa: ANN401
        """``then`` gets the reply or the error, after which it is looked up again."""

        def found(node: int | LogstoreError) -> None:
            if isinstance(node, LogstoreError):
                answered(node)
                return
            self._node = node
            self.brokers.ask(node, kind, request, answered, self._use, seconds)

        def answered(answer: Any) -> None:  # noqa: ANN401
            if isinstance(answer, LogstoreError) and not isinstance(answer, NotSpoken):
                self.forget()
            then(answer)

        if self._node is None:
            find(self.brokers, self.group, GROUP, found)
        else:
            found(self._node)

    def forget(self) -> None:
        """The node is no longer the coordinator."""
        self._node = None
        self.brokers.refresh()
