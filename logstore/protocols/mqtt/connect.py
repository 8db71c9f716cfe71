"""Checks the content of a CONNECT. Pure."""

from collections.abc import Callable
from typing import Final, NamedTuple

from logstore.broker.mqtt.filters import InvalidTopic, check_topic
from logstore.mqtt import reasons
from logstore.mqtt.kinds import V5
from logstore.mqtt.packets import Connect, Will
from logstore.mqtt.properties import NONE, Properties
from logstore.mqtt.reasons import Broken, not_allowed

CLIENT_ID_BYTES_MAX: Final = 256
NEVER: Final = 0xFFFF_FFFF  # a session expiry: it does not
RECEIVE_MAXIMUM: Final = 1024  # messages of QoS 1 and 2 that a client may send unacknowledged
ALIASES_MAX: Final = 65_535
PIDS: Final = 65_535
DOLLAR: Final = b"$"
RESPONSES: Final = "reply/{}/"  # a place for answers to a client's requests


class Come(NamedTuple):
    """The checked content: the client's id, and its wishes for the session."""

    version: int
    client: str  # its id, given or generated
    assigned: bool
    clean_start: bool
    expiry_s: int
    keep_alive_s: int
    window: int  # messages that may be sent to it unacknowledged
    packet_bytes_max: int  # of packets to the client; 0: any size
    responses: bool  # it requests a response topic
    will: Will | None
    asked_expiry_s: int  # as it has asked for it


class Rules(NamedTuple):
    """The door's rules for a CONNECT."""

    window: int  # of a client of version 3.1.1, which cannot say
    expiry_max_s: int = NEVER


def come(connect: Connect, rules: Rules, new_id: Callable[[], str]) -> Come:
    """The settings that a CONNECT requests. Raises Broken if a CONNACK must refuse them."""
    said = connect.properties
    if said.authentication_method is not None:
        # [MQTT-4.12.0-1]
        raise Broken(reasons.BAD_METHOD, "it asks for authentication by AUTH packets")
    client = connect.client_id
    if len(client.encode()) > CLIENT_ID_BYTES_MAX:
        raise Broken(reasons.BAD_CLIENT_ID, f"its client id has over {CLIENT_ID_BYTES_MAX} bytes")
    if not client and connect.level < V5 and not connect.clean_start:  # 3.1.1: [MQTT-3.1.3-8]
        raise Broken(reasons.BAD_CLIENT_ID, "it has no client id, and wants a session that lasts")
    if connect.will is not None:
        check_will(connect.will)
    asked = expiry_s(connect)
    return Come(
        connect.level, client or new_id(), not client, connect.clean_start,
        min(asked, rules.expiry_max_s), connect.keep_alive_s,
        rules.window if connect.level < V5 else said.receive_maximum or PIDS,
        said.maximum_packet_size or 0, said.request_response_information == 1,
        connect.will, asked,
    )  # fmt: skip


def expiry_s(connect: Connect) -> int:
    """How long the session outlives its connection (3.1.2.11.2), in s; in 3.1.1 for ever or not at
    all.
    """
    if connect.level < V5:
        return 0 if connect.clean_start else NEVER
    return connect.properties.session_expiry_s or 0


def check_will(will: Will) -> None:
    """Check the will of a CONNECT. Raises Broken."""
    try:
        check_topic(will.topic)
    except InvalidTopic as error:
        raise Broken(reasons.BAD_TOPIC, f"the topic of its will: {error}") from None
    if will.topic.startswith(DOLLAR):
        raise Broken(reasons.BAD_TOPIC, "the topic of its will begins with $")
    check_response_topic(will.properties)


def check_response_topic(said: Properties) -> None:
    """Raise Broken if the response topic is not a topic name [MQTT-3.3.2-14]."""
    topic = said.response_topic
    if topic is not None and (not topic or "+" in topic or "#" in topic):
        raise not_allowed("a Response Topic is empty, or has a wildcard in it")


def responses_of(client: str) -> str | None:
    """The prefix of the client's response topics; None if its id contains a wildcard."""
    return None if "+" in client or "#" in client else RESPONSES.format(client)


def answer(it: Come, packet_bytes_max: int) -> Properties:
    """The properties of a CONNACK that admits the client (3.2.2.3)."""
    if it.version < V5:
        return NONE
    return Properties(
        session_expiry_s=it.expiry_s if it.expiry_s != it.asked_expiry_s else None,
        assigned_client_id=it.client if it.assigned else None,
        response_information=responses_of(it.client) if it.responses else None,
        receive_maximum=RECEIVE_MAXIMUM,
        topic_alias_maximum=ALIASES_MAX,
        maximum_packet_size=packet_bytes_max,
    )
