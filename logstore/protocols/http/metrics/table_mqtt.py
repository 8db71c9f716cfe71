"""Metrics of MQTT: messages, sessions, retained messages and wills."""

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
    _row("messages_received", COUNTER, "Messages that MQTT clients published, by QoS.",
         _by_qos(lambda it: it.received)),
    _row("messages_sent", COUNTER, "Messages that were sent to MQTT clients, by QoS.",
         _by_qos(lambda it: it.sent)),
    _row("messages_refused", COUNTER, "Messages that MQTT clients were not permitted to publish.",
         _door(lambda it: it.refused)),
    _row("messages_unmatched", COUNTER, "Messages of MQTT clients for which there was no "
         "subscriber.",
         _door(lambda it: it.unmatched)),
    _row("messages_dropped", COUNTER, "Messages of QoS 0 that were dropped because the subscriber "
         "read too slowly.", _door(lambda it: it.dropped)),
    _row("aliases_unknown", COUNTER, "Connections that were closed because the client used a "
         "topic alias that it had not defined on them.", _door(lambda it: it.unknown_aliases)),
    _row("packet_ids_unknown", COUNTER, "Packets of QoS 2 exchanges (PUBREC, PUBREL, PUBCOMP) "
         "with a packet identifier that is not in use.", _door(lambda it: it.unknown_packets)),
    _row("sessions", GAUGE, "Number of sessions of MQTT clients, by state: connected or away.",
         _states),
    _row("subscriptions", GAUGE, "Number of subscriptions of MQTT sessions.", one(_subscriptions)),
    _row("sessions_begun", COUNTER, "MQTT sessions that were created.", _of(lambda it: it.begun)),
    _row("sessions_resumed", COUNTER, "MQTT sessions that their client resumed.",
         _of(lambda it: it.resumed)),
    _row("sessions_taken_over", COUNTER, "MQTT connections that were closed because the client "
         "connected again.", _of(lambda it: it.taken_over)),
    _row("sessions_expired", COUNTER, "MQTT sessions that expired.",
         _of(lambda it: it.expired)),
    _row("sessions_crowded_out", COUNTER, "MQTT sessions that were ended early because there were "
         "too many, or memory was short.",
         _of(lambda it: it.crowded_out)),
    _row("session_messages_sent", COUNTER, "Messages from sessions' queues that were sent to MQTT "
         "clients.",
         _of(lambda it: it.sent)),
    _row("session_messages_sent_again", COUNTER, "Messages that were sent again because they were "
         "not acknowledged on an earlier connection.", _of(lambda it: it.sent_again)),
    _row("session_messages_too_long", COUNTER, "Messages that were skipped because they exceed "
         "the client's maximum packet size.", _of(lambda it: it.too_long)),
    _row("session_messages_withheld", COUNTER, "Messages that were withheld from a session: the "
         "routing key is not a topic, or the client has lost the right to read it.",
         _of(lambda it: it.not_for_it)),
    _row("session_acks_unknown", COUNTER, "Acknowledgements with a packet identifier that is not "
         "in use.", _of(lambda it: it.unknown_acks)),
    _row("retained_messages", GAUGE, "Number of retained MQTT messages.",
         _kept(lambda it: len(it.retained))),
    _row("retained_bytes", GAUGE, "Memory of retained MQTT messages.",
         _kept(lambda it: it.retained.held_bytes)),
    _row("retained_dropped", COUNTER, "Messages that were not retained because there was no room.",
         _kept(lambda it: it.retained.dropped)),
    _row("wills", GAUGE, "Wills of MQTT clients that are connected, or whose will delay has not "
         "passed.",
         _kept(lambda it: len(it.wills))),
    _row("wills_published", COUNTER, "Wills that were published.",
         _kept(lambda it: it.wills.published)),
    _row("names_refused", COUNTER, "Look-ups of channel names and routing keys that are not valid "
         "MQTT topics.", one(lambda it: it.house.space.counts.no_topics)),
    _row("messages_without_key", COUNTER, "Messages whose topic is too long for a routing key, so "
         "that queues bound to amq.topic do not receive them.",
         one(lambda it: it.house.space.counts.no_keys)),
    _row("messages_without_room", COUNTER, "Messages that a full queue, of an MQTT session or "
         "bound to amq.topic, did not accept.", one(lambda it: it.house.space.counts.full)),
    _row("messages_unkept", COUNTER, "Messages that the history of their channel did not store.",
         one(lambda it: it.house.space.counts.unkept)),
    _row("mapped_messages", COUNTER, "Messages that mapping rules made from records of topics.",
         _kept(lambda it: it.mapped.published)),
)  # fmt: skip
