"""News of the server as events: one a second, of what the view that asks shows.

What all are told alike is put together once a second, however many listen.
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
from logstore.http.faults import BAD_REQUEST, Fault
from logstore.kept_queues import DEFAULT_VHOST
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.events import Events
from logstore.protocols.http.native.overview import overview
from logstore.protocols.http.permits import Permits

EVERY_S: Final = 1.0
NAMES_MAX: Final = 100  # objects of one stream
OVERVIEW: Final = "overview"
VIEWS: Final = ("", OVERVIEW)
FIGURES: Final = "figures"  # what these events are called
QUERY: Final = ("view", "topics", "queues", "channels", "groups", "vhost")

Json = dict[str, Any]
Rates = Mapping[str, float | None]


def begun(door: HttpDoor, call: Call) -> None:
    """Until the peer goes. Raises Fault."""
    view = call.text("view")
    if view not in VIEWS:
        raise Fault(BAD_REQUEST, f"view={view[:20]}: takes {OVERVIEW}, or nothing")
    wanted = {it: _names(call, it) for it in LOOKS}
    if sum(map(len, wanted.values())) > NAMES_MAX:
        raise Fault(BAD_REQUEST, f"{NAMES_MAX} names are the most that one stream tells of")
    vhost = name_text(call.query.get("vhost", fields.data(DEFAULT_VHOST)))
    _Stream(door, call.rights, call.events(), view, wanted, vhost).go_on()


def _names(call: Call, kind: str) -> Sequence[str]:
    """Given by commas; a name with a comma in it is asked for by ``kind`` itself elsewhere."""
    text = call.text(kind)
    return list(dict.fromkeys(text.split(","))) if text else []


class _Stream:
    """To one peer."""

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

    def go_on(self) -> None:
        """Send what is known now, and again in a second, as long as the peer is there."""
        if not self._events.open:
            return
        door = self._door
        if self._rights.is_let_in or not door.access.required:
            self._events.send(encode(self._told()), FIGURES)
        door.timer.call_at(door.timer.now() + EVERY_S, self.go_on)

    def _told(self) -> Json:
        found = dict(_overview(self._door, self._rights))
        if self._view != OVERVIEW:
            found = {"health": found["health"], "uptime_s": found["uptime_s"]}
        for kind, names in self._wanted.items():
            if names:
                found[kind] = {
                    name: LOOKS[kind](self._door, self._vhost, name)
                    for name in names if MAY[kind](self._rights, self._door, self._vhost, name)
                }  # fmt: skip
        return found


def _overview(door: HttpDoor, rights: Permits) -> Json:
    """The same for all who see everything, as long as it is the same second."""
    if not rights.sees_all:
        return overview(door, rights)
    now = door.stopwatch()
    told = door.told.get(OVERVIEW)
    if told is None or now - told[0] >= EVERY_S / 2:
        told = door.told[OVERVIEW] = now, overview(door, rights)
    return told[1]


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
