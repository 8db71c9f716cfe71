"""The kinds of packets (2.1.2): the upper half of a packet's first byte, and the names."""

from typing import Final

CONNECT: Final = 1
CONNACK: Final = 2
PUBLISH: Final = 3
PUBACK: Final = 4
PUBREC: Final = 5
PUBREL: Final = 6
PUBCOMP: Final = 7
SUBSCRIBE: Final = 8
SUBACK: Final = 9
UNSUBSCRIBE: Final = 10
UNSUBACK: Final = 11
PINGREQ: Final = 12
PINGRESP: Final = 13
DISCONNECT: Final = 14
AUTH: Final = 15

ACKS: Final = (PUBACK, PUBREC, PUBREL, PUBCOMP)

NAMES: Final = {
    CONNECT: "CONNECT", CONNACK: "CONNACK", PUBLISH: "PUBLISH", PUBACK: "PUBACK",
    PUBREC: "PUBREC", PUBREL: "PUBREL", PUBCOMP: "PUBCOMP", SUBSCRIBE: "SUBSCRIBE",
    SUBACK: "SUBACK", UNSUBSCRIBE: "UNSUBSCRIBE", UNSUBACK: "UNSUBACK", PINGREQ: "PINGREQ",
    PINGRESP: "PINGRESP", DISCONNECT: "DISCONNECT", AUTH: "AUTH",
}  # fmt: skip

# The first byte of each: its lower half is reserved, but for PUBLISH (2.1.3).
FLAGS: Final = {PUBREL: 2, SUBSCRIBE: 2, UNSUBSCRIBE: 2}
FIRST: Final = {kind: kind << 4 | FLAGS.get(kind, 0) for kind in NAMES}

# Flags of PUBLISH (3.3.1)
DUP: Final = 8
RETAIN: Final = 1

V311: Final = 4  # protocol levels (3.1.2.2)
V5: Final = 5
