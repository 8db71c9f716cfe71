"""Topic routes for users of the library: each call returns when its change is durable."""

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from logstore.broker.queues.crossing.about import RouteAbout, about
from logstore.broker.queues.crossing.topic_route import TopicRoute
from logstore.broker.queues.crossing.topic_routes import TopicRoutes
from logstore.broker.queues.pending import Pending
from logstore.broker.queues.vhost import Vhost
from logstore.broker.start import Start
from logstore.errors import LogstoreError

_T = TypeVar("_T")

LOOKED_WITHIN_S: Final = 2.0  # then the state is reported as unknown


class Model(Protocol):
    """The queues of the process."""

    def topic_routes(self) -> TopicRoutes: ...
    def vhost(self, name: bytes) -> Vhost: ...


class Owner(Protocol):
    """What holds the model: the store's queues."""

    def with_model(self, call: "Callable[[Model], _T]") -> _T: ...
    def keep(self, change: "Callable[[Model], Pending | None]") -> None: ...
    def wait(self, ready: Callable[[], object], timeout_s: float | None = None) -> bool: ...
    def poke(self) -> None: ...


def add(
    owner: Owner, vhost: bytes, topic: str, exchange: bytes, key: str, fallback: str | None,
    start: Start,
) -> RouteAbout:  # fmt: skip
    """As TopicRoutes.add. Raises its errors, and those that it reports."""
    found: list[TopicRoute | LogstoreError] = []

    def told(it: TopicRoute | LogstoreError) -> None:
        found.append(it)
        owner.poke()

    def work(model: Model) -> None:
        model.topic_routes().add(
            model.vhost(vhost), topic, exchange, told, key=key, fallback=fallback, start=start
        )

    owner.with_model(work)
    owner.wait(lambda: found)
    [it] = found
    if isinstance(it, LogstoreError):
        raise it
    return about(it)


def listed(owner: Owner, vhost: bytes) -> list[RouteAbout]:
    """List the routes of a virtual host. Raises NoVhost."""
    routes = owner.with_model(lambda model: model.topic_routes().of(model.vhost(vhost)))
    # In a process that has just started the routes were not looked at yet.
    owner.wait(lambda: all(it.looked or it.gone for it in routes), LOOKED_WITHIN_S)
    return owner.with_model(lambda model: [about(it) for it in routes if not it.gone])


def remove(owner: Owner, vhost: bytes, topic: str, exchange: bytes) -> None:
    """Remove a route. Raises NoRoute, NoVhost."""
    owner.keep(lambda model: model.topic_routes().remove(model.vhost(vhost), topic, exchange))
