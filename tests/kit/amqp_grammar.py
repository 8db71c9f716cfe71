"""Conversations of a client, right and wrong, as frames: by chance, from a seed."""

import random
from decimal import Decimal

from amqp_kit import message

from logstore.amqp import fields, frames, methods
from logstore.amqp.properties import Properties

NAMES = ["", "q", "q", "q", "d", "p", "no", "amq.direct", "amq.gen-x", "amq.rabbitmq.reply-to",
         "x" * 255, "\u00e4", "a\r\nb"]  # fmt: skip
EXCHANGES = ["", "", "e", "h", "t", "amq.headers", "amq.topic", "inner", "no", "x" * 255]
KEYS = ["", "q", "q", "a.b", "#", "*.b", "a..b", "." * 255]
CHANNELS = [*[1] * 150, *[2] * 50, 0, 3, 7, 2047, 2048, 65_535]
QUEUE_ARGUMENTS = [
    "x-max-length", "x-max-length-bytes", "x-message-ttl", "x-expires", "x-max-priority",
    "x-overflow", "x-dead-letter-exchange", "x-dead-letter-routing-key", "x-queue-type",
    "x-delivery-limit", "x-single-active-consumer", "x-consumer-timeout", "x-queue-mode",
    "x-dead-letter-strategy", "x-delayed-retry-type", "x-delayed-retry-min", "x-max-age", "x-any",
]  # fmt: skip
GOOD = {
    "x-max-length": 2, "x-max-length-bytes": 20, "x-message-ttl": 0, "x-expires": 1000,
    "x-max-priority": 5, "x-overflow": "reject-publish-dlx", "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": "d", "x-queue-type": "quorum", "x-delivery-limit": 1,
    "x-single-active-consumer": True, "x-consumer-timeout": 1000, "x-queue-mode": "lazy",
    "x-dead-letter-strategy": "at-least-once", "x-delayed-retry-type": "all",
    "x-delayed-retry-min": 10,
}  # fmt: skip
HEADERS = [
    "x-death",
    "CC",
    "BCC",
    "x-match",
    "x-delay",
    "x-delivery-count",
    "n",
    "x-first-death-queue",
]
DEATH = {"queue": "q", "reason": "rejected", "count": fields.Long(1), "exchange": "",
         "time": fields.Timestamp(0), "routing-keys": ["q"]}  # fmt: skip


def value(chance, deep=0):
    """A value of any field type."""
    kinds = [
        lambda: chance.random() < 0.5,
        lambda: chance.choice([0, 1, -1, 2**31 - 1, -(2**31)]),
        lambda: fields.Long(chance.choice([0, 1, -1, 2**63 - 1, -(2**63)])),
        lambda: fields.UnsignedLongLong(2**64 - 1),
        lambda: fields.SignedOctet(-128), lambda: fields.Octet(255),
        lambda: fields.SignedShort(-1), lambda: fields.Short(65_535),
        lambda: fields.UnsignedLong(2**32 - 1),
        lambda: chance.choice([0.0, -1.5, float("inf"), float("nan")]), lambda: fields.Float(0.5),
        lambda: Decimal("1.25"), lambda: fields.Timestamp(chance.choice([0, 2**63, 2**64 - 1])),
        lambda: chance.choice(["", "q", "a.b", "x" * 300, "\udcff", "rejected", "all", "any"]),
        lambda: chance.choice([b"", b"\0\xff"]), lambda: None,
        lambda: chance.choice([DEATH, [DEATH], [DEATH, DEATH, 5]]),
        lambda: nested(chance.choice([1, 5, 100])),
    ]  # fmt: skip
    if deep < 3:
        kinds += [
            lambda: [value(chance, deep + 1) for _ in range(chance.randrange(4))],
            lambda: table(chance, ["queue", "reason", "count", "exchange", "a"], deep + 1),
        ]
    return chance.choice(kinds)()


def nested(deep):
    found = "innermost"
    for n in range(deep):
        found = {"a": found} if n % 2 else [found]
    return found


def table(chance, names, deep=0):
    return {chance.choice(names): value(chance, deep) for _ in range(chance.randrange(4))}


def arguments(chance):
    names = chance.sample(sorted(GOOD), chance.randrange(4))
    good = {name: GOOD[name] for name in names}
    return good if chance.random() < 0.7 else {**good, **table(chance, QUEUE_ARGUMENTS)}


def publish(chance, channel):
    given = Properties(
        headers=table(chance, HEADERS) if chance.random() < 0.6 else None,
        expiration=chance.choice([None] * 6 + ["0", "100", "-1", "x", "9" * 30, "", "1.5"]),
        priority=chance.choice([None, 0, 5, 255]),
        delivery_mode=chance.choice([None, 1, 2, 255]),
        reply_to=chance.choice([None] * 5 + ["amq.rabbitmq.reply-to"]),
        user_id=chance.choice([None] * 8 + ["guest", "me"]),
    )
    body = chance.choice([b"", b"x", b"x" * 20, b"x" * 5000])
    return message(
        body, chance.choice(EXCHANGES), chance.choice(KEYS), chance.random() < 0.3, given, channel,
        chance.choice([1000, 131_064]), chance.random() < 0.01,
    )  # fmt: skip


AGAIN = methods.QueueDeclare(0, "q", False, False, False, False, False, {})
WRONG = [
    methods.ConnectionOpen("/"), methods.BasicGetEmpty(), methods.ConnectionTuneOk(1, 4096, 0),
    methods.ConnectionClose(200, "", 0, 0), methods.ChannelOpen(), methods.ChannelFlow(False),
    methods.BasicRecover(False),
]  # fmt: skip


TYPES = ["direct", "topic", "headers", "fanout", "x-random", "nope"]


def request(chance):
    one, rarely = chance.choice, lambda: chance.random() < 0.1
    name, exchange, tag = one(NAMES), one(EXCHANGES), one([0, 1, 1, 2, 3, 4, 5, 6, 2**64 - 1])
    return one([
        lambda: methods.QueueDeclare(
            0, name, rarely(), rarely(), rarely(), rarely(), rarely(), arguments(chance)),
        lambda: methods.QueueDeclare(0, "q", False, False, False, False, False, arguments(chance)),
        lambda: methods.QueueBind(0, name, exchange, one(KEYS), rarely(), table(chance, HEADERS)),
        lambda: methods.QueueUnbind(0, name, exchange, one(KEYS), table(chance, HEADERS)),
        lambda: methods.QueueDelete(0, name, rarely(), rarely(), rarely()),
        lambda: methods.QueuePurge(0, name, rarely()),
        lambda: methods.ExchangeDeclare(
            0, exchange, one(TYPES[: 5 + rarely()]),
            rarely(), rarely(), rarely(), exchange == "inner", rarely(),
            table(chance, ["alternate-exchange", "hash-header", "a"])),
        lambda: methods.ExchangeBind(
            0, exchange, one(EXCHANGES), one(KEYS), rarely(), table(chance, HEADERS)),
        lambda: methods.ExchangeUnbind(0, exchange, one(EXCHANGES), one(KEYS), rarely(), {}),
        lambda: methods.ExchangeDelete(0, exchange, rarely(), rarely()),
        lambda: methods.BasicConsume(
            0, name, one(["", "c", "c2"]), False, rarely(), rarely(), rarely(),
            table(chance, ["x-priority", "x-consumer-timeout", "a"])),
        lambda: methods.BasicConsume(0, "q", one(["", "c3"]), False, False, False, False, {}),
        lambda: methods.BasicCancel(one(["c", "c2", "no"]), rarely()),
        lambda: methods.BasicGet(0, one(["q", name]), rarely()),
        lambda: methods.BasicGet(0, "q", False),
        lambda: methods.BasicAck(tag, rarely()),
        lambda: methods.BasicNack(tag, rarely(), not rarely()),
        lambda: methods.BasicReject(tag, one([True, False])),
        lambda: methods.BasicQos(one([0] * 20 + [7]), one([0, 1, 5, 65_535]), one([True, False])),
        lambda: methods.BasicRecover(True), lambda: methods.BasicRecoverAsync(True),
        lambda: methods.ConfirmSelect(rarely()), methods.TxSelect, methods.TxCommit,
        methods.TxRollback, methods.ChannelCloseOk,
        lambda: methods.ChannelClose(200, "", 0, 0), lambda: methods.ChannelFlow(True),
        lambda: methods.AccessRequest(""), lambda: one(WRONG if chance.random() < 0.1 else [AGAIN]),
    ])()  # fmt: skip


def frame(chance):
    """One or more frames that a client may send."""
    channel = chance.choice(CHANNELS)
    kind = chance.random()
    if kind < 0.35:
        return publish(chance, channel)
    if kind < 0.355:
        return chance.choice([
            frames.HEARTBEAT_FRAME, frames.frame(8, channel, b""),
            frames.frame(1, channel, b"\0\x63\0\x01" + chance.randbytes(5)),
            frames.frame(1, channel, b"\0\x3c\0\xff"), frames.frame(2, channel, bytes(14)),
            frames.frame(3, channel, b"body"), frames.frame(9, channel, b""),
        ])  # fmt: skip
    return frames.method_frame(channel, request(chance))


def split(data):
    found = []
    while data:
        size = frames.HEAD.unpack_from(data)[2] + frames.OVERHEAD
        found.append(data[:size])
        data = data[size:]
    return found


SPOILS = [
    "flip", "end", "size", "cut", "longer", "drop", "twice", "channel", "type", "garbage",
]  # fmt: skip


def spoilt(chance, data):
    """A frame with an error in it, too long or too short."""
    one = bytearray(data)
    match chance.choice(SPOILS):
        case "flip":
            one[chance.randrange(len(one))] ^= 1 << chance.randrange(8)
        case "end":
            one[-1] = chance.randrange(256)
        case "size":
            one[3:7] = chance.choice([0, len(one), 2**31, 2**32 - 1]).to_bytes(4)
        case "cut":  # a frame that is whole and holds too little
            kept = bytes(one[7 : chance.randrange(7, len(one))])
            one = frames.frame(one[0], int.from_bytes(one[1:3]), kept)
        case "longer":
            more = bytes(one[7:-1]) + chance.randbytes(chance.randrange(1, 9))
            one = frames.frame(one[0], int.from_bytes(one[1:3]), more)
        case "drop":
            one = b""
        case "twice":
            one = one * 2
        case "channel":
            one[1:3] = chance.choice([0, 1, 2, 3, 2047, 2048, 65_535]).to_bytes(2)
        case "type":
            one[0] = chance.randrange(10)
        case _:
            one += chance.randbytes(chance.randrange(20))
    return bytes(one)


def conversation(seed, steps):
    """A client's input, in reads of some frames each, some of which are spoilt."""
    chance = random.Random(seed)
    spoils = chance.choice([0, 0.01, 0.05])
    for _ in range(chance.randint(1, steps)):
        found = [it for _ in range(chance.choice([1, 1, 3, 10])) for it in split(frame(chance))]
        yield b"".join(spoilt(chance, it) if chance.random() < spoils else it for it in found)
