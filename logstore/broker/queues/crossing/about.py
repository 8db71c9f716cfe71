"""The facts of a topic route, as shown to users."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # the model, which the caller has already loaded
    from logstore.broker.queues.crossing.topic_route import TopicRoute


class RouteAbout(NamedTuple):
    """A topic that feeds an exchange."""

    topic: str
    exchange: str
    key: str  # the template of routing keys
    fallback: str | None
    group: str  # whose offsets are its position
    waits: str | None  # why it does not go on; None: it does
    sent: int  # messages, in this process
    unrouted: int  # of these, those without a queue
    skipped: int  # records that retention removed before they were read, in this process
    lag: int | None  # records that have not arrived; None: it is not known yet


def about(route: "TopicRoute") -> RouteAbout:
    """Return the present state of a route."""
    places = route.positions()
    lag = sum(max(it.end - it.position, 0) for it in places) if places else None
    return RouteAbout(
        route.topic, route.fact.exchange, route.fact.key, route.fact.arguments.get("fallback"),
        route.group, route.stuck, route.sent, route.unrouted, sum(it.skipped for it in places), lag,
    )  # fmt: skip
