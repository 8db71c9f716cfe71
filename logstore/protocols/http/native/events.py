"""News of the server as events: one a second, with the content of the requested view.

Content that all listeners receive is built once a second, however many there are.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from logstore.access.resources import (
    CHANNEL,
    DESCRIBE,
    GROUP,
    QUEUE,
    name_text,
    object_name,
    of_topic,
)
from logstore.amqp import fields
from logstore.http.bodies import encode
from logstore.http.event_stream import event
from logstore.http.faults import BAD_REQUEST, Fault
from logstore.kept.queues import DEFAULT_VHOST
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.native.overview import overview
from logstore.protocols.http.permits import Permits
from logstore.protocols.http.replies.events import Events

NAMES_MAX: Final = 100  # objects of one stream
OVERVIEW: Final = "overview"
VIEWS: Final = ("", OVERVIEW)
FIGURES: Final = "figures"  # what these events are called
QUERY: Final = ("view", "topics", "queues", "channels", "groups", "vhost")

Json = dict[str, Any]
Rates = Mapping[str, float | None]


def begun(door: HttpDoor, call: Call) -> None:
    """Send events until the peer disconnects. Raises Fault."""
    view = call.text("view")
    if view not in VIEWS:
        raise Fault(BAD_REQUEST, f"view={view[:20]}: must be {OVERVIEW}, or left out")
    wanted = {it: _names(call, it) for it in LOOKS}
    if sum(map(len, wanted.values())) > NAMES_MAX:
        raise Fault(BAD_REQUEST, f"one stream can show at most {NAMES_MAX} names")
    vhost = name_text(call.query.get("vhost", fields.data(DEFAULT_VHOST)))
    stream = _Stream(door, call.rights, call.events(), view, wanted, vhost)
    door.news.add(stream, door.timer, door.slices)


def _names(call: Call, kind: str) -> Sequence[str]:
    """Names separated by commas; a name that contains a comma cannot be requested this way."""
    text = call.text(kind)
    return list(dict.fromkeys(text.split(","))) if text else []


class _Stream:
    """The events for one peer."""

    def __init__(
        self,
        door: HttpDoor,
        rights: Permits,
        events: Events,
        view: str,
        wanted: Mapping[str, Sequence[str]],
        vhost: str,
    ) -> None:
        self._door = door
        self._rights = rights
        self._events = events
        self._view = view
        self._wanted = wanted
        self._vhost = vhost

    @property
    def open(self) -> bool:
        """As Listener.open."""
        return self._events.open

    def tell(self) -> None:
        """As Listener.tell."""
        if self._rights.is_let_in or not self._door.access.required:
            self._events.send_as_is(self._told())

    def _told(self) -> bytes:
        door, rights = self._door, self._rights
        # Clients that may see the same objects, and the version of the rules.
        whose = None if rights.sees_all else (door.access.alike(rights.who), door.access.version)
        now = door.stopwatch()
        whole = door.news.alike(whose, now, lambda: overview(door, rights))
        if any(self._wanted.values()):
            return self._encoded(whole)
        told: bytes = door.news.alike((whose, self._view), now, lambda: self._encoded(whole))
        return told

    def _encoded(self, whole: Json) -> bytes:
        door, rights = self._door, self._rights
        found = whole
        if self._view != OVERVIEW:
            found = {"health": whole["health"], "uptime_s": whole["uptime_s"]}
        objects = {
            kind: {
                name: LOOKS[kind](door, self._vhost, name)
                for name in names if MAY[kind](rights, door, self._vhost, name)
            }
            for kind, names in self._wanted.items() if names
        }  # fmt: skip
        return event(encode(found | objects), FIGURES)


# Of one object


def _topic(door: HttpDoor, _: str, name: str) -> Json | None:
    topic = door.topics.get(name)
    if topic is None:
        return None
    return {"in_per_s": door.figures.rates("topic", topic.id)["in"]}


def _queue(door: HttpDoor, vhost: str, name: str) -> Json | None:
    queues = door.queues_of.opened
    host = None if queues is None else queues.vhosts.get(fields.data(vhost))
    queue = None if host is None else host.topology.queue(fields.data(name))
    if queue is None:
        return None
    return {
        "ready": queue.ready,
        "unacked": queue.out,
        "consumers": len(queue.subscriptions),
        **_a_second(door.figures.rates("queue", queue.id)),
    }


def _channel(door: HttpDoor, _: str, name: str) -> Json | None:
    raw = fields.data(name)
    rates = door.figures.rates("channel", raw)
    return {"subscribers": door.channels.names.count(raw), **_a_second(rates)}


def _group(door: HttpDoor, _: str, name: str) -> Json | None:
    lag = door.figures.level("group", name, "lag")
    return None if lag is None else {"lag": str(lag)}


def _a_second(rates: Rates) -> Json:
    return {f"{name}_per_s": it for name, it in rates.items()}


LOOKS: Final[Mapping[str, Callable[[HttpDoor, str, str], Json | None]]] = {
    "topics": _topic,
    "queues": _queue,
    "channels": _channel,
    "groups": _group,
}
MAY: Final[Mapping[str, Callable[[Permits, HttpDoor, str, str], bool]]] = {
    "topics": lambda rights, door, _, name: rights.may(
        DESCRIBE, *of_topic(name, door.keeps_history)
    ),
    "queues": lambda rights, _, vhost, name: rights.may(DESCRIBE, QUEUE, object_name(vhost, name)),
    "channels": lambda rights, _, __, name: rights.may(DESCRIBE, CHANNEL, name),
    "groups": lambda rights, _, __, name: rights.may(DESCRIBE, GROUP, name),
}
