"""The reason codes of MQTT 5 (2.4), the packets that use each, and the error that carries one."""

from typing import Final

from logstore.errors import BrokenProtocol
from logstore.mqtt.kinds import (
    AUTH,
    CONNACK,
    DISCONNECT,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    SUBACK,
    UNSUBACK,
)

SUCCESS: Final = 0x00  # also: normal disconnection, granted QoS 0
DISCONNECT_WITH_WILL: Final = 0x04
NO_MATCHING_SUBSCRIBERS: Final = 0x10
NO_SUBSCRIPTION: Final = 0x11
CONTINUE: Final = 0x18
REAUTHENTICATE: Final = 0x19
UNSPECIFIED: Final = 0x80
MALFORMED: Final = 0x81
PROTOCOL_ERROR: Final = 0x82
IMPLEMENTATION: Final = 0x83
UNSUPPORTED_VERSION: Final = 0x84
BAD_CLIENT_ID: Final = 0x85
BAD_LOGIN: Final = 0x86
NOT_AUTHORIZED: Final = 0x87
UNAVAILABLE: Final = 0x88
BUSY: Final = 0x89
BANNED: Final = 0x8A
SHUTTING_DOWN: Final = 0x8B
BAD_METHOD: Final = 0x8C
KEEP_ALIVE_TIMEOUT: Final = 0x8D
TAKEN_OVER: Final = 0x8E
BAD_FILTER: Final = 0x8F
BAD_TOPIC: Final = 0x90
PACKET_ID_IN_USE: Final = 0x91
PACKET_ID_NOT_FOUND: Final = 0x92
RECEIVE_MAXIMUM: Final = 0x93
BAD_ALIAS: Final = 0x94
TOO_LARGE: Final = 0x95
RATE_TOO_HIGH: Final = 0x96
QUOTA: Final = 0x97
ADMINISTRATIVE: Final = 0x98
BAD_PAYLOAD: Final = 0x99
NO_RETAIN: Final = 0x9A
NO_QOS: Final = 0x9B
ANOTHER_SERVER: Final = 0x9C
SERVER_MOVED: Final = 0x9D
NO_SHARED: Final = 0x9E
CONNECTION_RATE: Final = 0x9F
MAXIMUM_CONNECT_TIME: Final = 0xA0
NO_SUBSCRIPTION_IDS: Final = 0xA1
NO_WILDCARDS: Final = 0xA2

# The standard's names of those that are told as errors.
NAMES: Final = {
    UNSPECIFIED: "Unspecified error", MALFORMED: "Malformed Packet",
    PROTOCOL_ERROR: "Protocol Error", IMPLEMENTATION: "Implementation specific error",
    UNSUPPORTED_VERSION: "Unsupported Protocol Version",
    BAD_CLIENT_ID: "Client Identifier not valid", BAD_LOGIN: "Bad User Name or Password",
    NOT_AUTHORIZED: "Not authorized", UNAVAILABLE: "Server unavailable", BUSY: "Server busy",
    BANNED: "Banned", SHUTTING_DOWN: "Server shutting down",
    BAD_METHOD: "Bad authentication method", KEEP_ALIVE_TIMEOUT: "Keep Alive timeout",
    TAKEN_OVER: "Session taken over", BAD_FILTER: "Topic Filter invalid",
    BAD_TOPIC: "Topic Name invalid", PACKET_ID_IN_USE: "Packet Identifier in use",
    PACKET_ID_NOT_FOUND: "Packet Identifier not found",
    RECEIVE_MAXIMUM: "Receive Maximum exceeded", BAD_ALIAS: "Topic Alias invalid",
    TOO_LARGE: "Packet too large", RATE_TOO_HIGH: "Message rate too high",
    QUOTA: "Quota exceeded", ADMINISTRATIVE: "Administrative action",
    BAD_PAYLOAD: "Payload format invalid", NO_RETAIN: "Retain not supported",
    NO_QOS: "QoS not supported", ANOTHER_SERVER: "Use another server",
    SERVER_MOVED: "Server moved", NO_SHARED: "Shared Subscriptions not supported",
    CONNECTION_RATE: "Connection rate exceeded", MAXIMUM_CONNECT_TIME: "Maximum connect time",
    NO_SUBSCRIPTION_IDS: "Subscription Identifiers not supported",
    NO_WILDCARDS: "Wildcard Subscriptions not supported",
}  # fmt: skip

_PUBLISHED: Final = frozenset({
    SUCCESS, NO_MATCHING_SUBSCRIBERS, UNSPECIFIED, IMPLEMENTATION, NOT_AUTHORIZED, BAD_TOPIC,
    PACKET_ID_IN_USE, QUOTA, BAD_PAYLOAD,
})  # fmt: skip
_RELEASED: Final = frozenset({SUCCESS, PACKET_ID_NOT_FOUND})
# What each packet may say (tables 3-1, 3.2.2.2, 3.4.2.1, 3.5.2.1, ..., 3.15.2.1).
OF: Final = {
    CONNACK: frozenset({
        SUCCESS, UNSPECIFIED, MALFORMED, PROTOCOL_ERROR, IMPLEMENTATION, UNSUPPORTED_VERSION,
        BAD_CLIENT_ID, BAD_LOGIN, NOT_AUTHORIZED, UNAVAILABLE, BUSY, BANNED, BAD_METHOD, BAD_TOPIC,
        TOO_LARGE, QUOTA, BAD_PAYLOAD, NO_RETAIN, NO_QOS, ANOTHER_SERVER, SERVER_MOVED,
        CONNECTION_RATE,
    }),
    PUBACK: _PUBLISHED,
    PUBREC: _PUBLISHED,
    PUBREL: _RELEASED,
    PUBCOMP: _RELEASED,
    SUBACK: frozenset({
        0, 1, 2, UNSPECIFIED, IMPLEMENTATION, NOT_AUTHORIZED, BAD_FILTER, PACKET_ID_IN_USE, QUOTA,
        NO_SHARED, NO_SUBSCRIPTION_IDS, NO_WILDCARDS,
    }),
    UNSUBACK: frozenset({
        SUCCESS, NO_SUBSCRIPTION, UNSPECIFIED, IMPLEMENTATION, NOT_AUTHORIZED, BAD_FILTER,
        PACKET_ID_IN_USE,
    }),
    DISCONNECT: frozenset({
        SUCCESS, DISCONNECT_WITH_WILL, UNSPECIFIED, MALFORMED, PROTOCOL_ERROR, IMPLEMENTATION,
        NOT_AUTHORIZED, BUSY, SHUTTING_DOWN, BAD_METHOD, KEEP_ALIVE_TIMEOUT, TAKEN_OVER,
        BAD_FILTER, BAD_TOPIC,
        RECEIVE_MAXIMUM, BAD_ALIAS, TOO_LARGE, RATE_TOO_HIGH, QUOTA, ADMINISTRATIVE, BAD_PAYLOAD,
        NO_RETAIN, NO_QOS, ANOTHER_SERVER, SERVER_MOVED, NO_SHARED, CONNECTION_RATE,
        MAXIMUM_CONNECT_TIME, NO_SUBSCRIPTION_IDS, NO_WILDCARDS,
    }),
    AUTH: frozenset({SUCCESS, CONTINUE, REAUTHENTICATE}),
}  # fmt: skip
# Of those a client's DISCONNECT may not say what only a server can know (3.14.2.1).
OF_CLIENTS: Final = frozenset({
    SUCCESS, DISCONNECT_WITH_WILL, UNSPECIFIED, MALFORMED, PROTOCOL_ERROR, IMPLEMENTATION,
    BAD_TOPIC, RECEIVE_MAXIMUM, BAD_ALIAS, TOO_LARGE, RATE_TOO_HIGH, QUOTA, ADMINISTRATIVE,
    BAD_PAYLOAD,
})  # fmt: skip

# The return codes of a CONNACK of version 3.1.1 (3.2.2.3), for reasons that it has words for.
RETURN_CODES: Final = {
    SUCCESS: 0, UNSUPPORTED_VERSION: 1, BAD_CLIENT_ID: 2, UNAVAILABLE: 3, BUSY: 3, QUOTA: 3,
    BAD_LOGIN: 4, NOT_AUTHORIZED: 5, BANNED: 5,
}  # fmt: skip


class Broken(BrokenProtocol):
    """An error of the peer that ends the connection; the peer is told the reason code."""

    def __init__(self, code: int, text: str) -> None:
        """``text``: what happened, in one line."""
        super().__init__(text)
        self.code = code


def malformed(text: str) -> Broken:
    """A packet that cannot be parsed (1.2)."""
    return Broken(MALFORMED, text)


def not_allowed(text: str) -> Broken:
    """A packet that was parsed, and says what the protocol does not allow (1.2)."""
    return Broken(PROTOCOL_ERROR, text)
