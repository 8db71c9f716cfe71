"""Metrics of MQTT: sessions, and what is kept beside them."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from logstore.protocols.http.metrics.exposition import (
    COUNTER,
    GAUGE,
    Family,
    Sample,
    Value,
    labels,
)
from logstore.protocols.http.metrics.rows import Row
from logstore.protocols.http.metrics.scene import Samples, Scene, one

if TYPE_CHECKING:
    from logstore.broker.mqtt.mqtt import Mqtt
    from logstore.broker.mqtt.sessions import Sessions
    from logstore.counts.mqtt import MqttCounts
    from logstore.counts.mqtt_sessions import SessionCounts


def _sessions(scene: Scene) -> "Sessions | None":
    """None: no client has come, and none has left anything."""
    mqtt = scene.house.mqtt_of.opened
    found: Sessions | None = None if mqtt is None else mqtt.sessions
    return found


def _states(scene: Scene) -> Iterator[Sample]:
    sessions = _sessions(scene)
    connected = 0 if sessions is None else sessions.connected
    yield labels({"state": "connected"}), connected
    yield labels({"state": "away"}), 0 if sessions is None else len(sessions) - connected


def _subscriptions(scene: Scene) -> Value:
    sessions = _sessions(scene)
    return 0 if sessions is None else sessions.subscriptions


def _of(value: "Callable[[SessionCounts], int]") -> Samples:
    def counted(scene: Scene) -> Value:
        sessions = _sessions(scene)
        return 0 if sessions is None else value(sessions.counts)

    return one(counted)


def _kept(value: "Callable[[Mqtt], int]") -> Samples:
    def now(scene: Scene) -> Value:
        mqtt = scene.house.mqtt_of.opened
        return 0 if mqtt is None else value(mqtt)

    return one(now)


def _by_qos(value: "Callable[[MqttCounts], Sequence[int]]") -> Samples:
    def samples(scene: Scene) -> Iterator[Sample]:
        for qos, count in enumerate(value(scene.house.figures.mqtt)):
            yield labels({"qos": str(qos)}), count

    return samples


def _door(value: "Callable[[MqttCounts], int]") -> Samples:
    return one(lambda scene: value(scene.house.figures.mqtt))


def _row(name: str, kind: str, help_: str, samples: Samples) -> Row:
    return Row(Family(f"logstore_mqtt_{name}", kind, help_), samples, "logstore")


ROWS: Final = (
    _row("messages_received", COUNTER, "Messages that MQTT clients have published.",
         _by_qos(lambda it: it.received)),
    _row("messages_sent", COUNTER, "Messages that were sent to MQTT clients.",
         _by_qos(lambda it: it.sent)),
    _row("messages_refused", COUNTER, "Messages that their client may not publish.",
         _door(lambda it: it.refused)),
    _row("messages_unmatched", COUNTER, "Messages that nobody had subscribed to.",
         _door(lambda it: it.unmatched)),
    _row("messages_dropped", COUNTER, "Messages of QoS 0 that clients missed which read too "
         "slowly.", _door(lambda it: it.dropped)),
    _row("aliases_unknown", COUNTER, "Connections that ended since their client used a topic alias "
         "of an earlier one.", _door(lambda it: it.unknown_aliases)),
    _row("packet_ids_unknown", COUNTER, "Acknowledgements and releases, of QoS 2, of packet "
         "identifiers that were not in use.", _door(lambda it: it.unknown_packets)),
    _row("sessions", GAUGE, "Sessions of MQTT clients, by whether they are connected.", _states),
    _row("subscriptions", GAUGE, "What they have subscribed to.", one(_subscriptions)),
    _row("sessions_begun", COUNTER, "Sessions that are or were new.", _of(lambda it: it.begun)),
    _row("sessions_resumed", COUNTER, "Sessions that a client has come back to.",
         _of(lambda it: it.resumed)),
    _row("sessions_taken_over", COUNTER, "Connections that ended since their client had come by "
         "another one.", _of(lambda it: it.taken_over)),
    _row("sessions_expired", COUNTER, "Sessions whose expiry has passed.",
         _of(lambda it: it.expired)),
    _row("sessions_crowded_out", COUNTER, "Sessions that ended since there were too many.",
         _of(lambda it: it.crowded_out)),
    _row("session_messages_sent", COUNTER, "Messages that sessions had of queues, and sent.",
         _of(lambda it: it.sent)),
    _row("session_messages_sent_again", COUNTER, "Of these, those that were not acknowledged on "
         "an earlier connection.", _of(lambda it: it.sent_again)),
    _row("session_messages_too_long", COUNTER, "Messages that count as delivered, since their "
         "client takes none of their size.", _of(lambda it: it.too_long)),
    _row("session_messages_withheld", COUNTER, "Messages whose routing key is no topic, or that "
         "their client may not have any more.", _of(lambda it: it.not_for_it)),
    _row("session_acks_unknown", COUNTER, "Acknowledgements of packet identifiers that were not in "
         "use.", _of(lambda it: it.unknown_acks)),
    _row("retained_messages", GAUGE, "Topics that retain a message.",
         _kept(lambda it: len(it.retained))),
    _row("retained_bytes", GAUGE, "Memory that retained messages take.",
         _kept(lambda it: it.retained.held_bytes)),
    _row("retained_dropped", COUNTER, "Messages that were not retained, since there was no room.",
         _kept(lambda it: it.retained.dropped)),
    _row("wills", GAUGE, "Wills of clients that are connected, or whose delay is not over.",
         _kept(lambda it: len(it.wills))),
    _row("wills_published", COUNTER, "Wills of clients that were lost.",
         _kept(lambda it: it.wills.published)),
    _row("names_refused", COUNTER, "Names of channels, and routing keys, that are no topics, when "
         "they were looked up.", one(lambda it: it.house.space.counts.no_topics)),
    _row("messages_without_key", COUNTER, "Messages whose topic no routing key can say: queues "
         "that are bound to amq.topic do not get them.",
         one(lambda it: it.house.space.counts.no_keys)),
    _row("messages_without_room", COUNTER, "Messages that a queue had no room for, of a client's "
         "session or bound to amq.topic.", one(lambda it: it.house.space.counts.full)),
    _row("messages_unkept", COUNTER, "Messages that the history of their channel did not take.",
         one(lambda it: it.house.space.counts.unkept)),
    _row("mapped_messages", COUNTER, "Messages that came of records of topics, by rules.",
         _kept(lambda it: it.mapped.published)),
)  # fmt: skip
