"""The messages of the link between two nodes, and each of them as a frame. Pure.

A frame is its size in 4 bytes (of what follows), a byte for the kind of message, and its fields in
their order (``wire.py``). The node that has connected, the *asker*, asks; the *owner* is asked:

    begin    Hello, Challenge, Proof, Proof (``proof.py``); then what follows
    either   Ping is answered by Pong; End says why the link ends
    asker    Subscribe, Credit, Unsubscribe; Settle, Release, Reject; Get, Purge, Look, Ask
    owner    Subscribed, Deliver, Unsubscribed, Cancelled; Got, Purged, Counts, Answer; Refused, in
             place of the answer to Subscribe, Get, Purge, Look or Ask

The asker gives numbers to what it begins (``id``): each once within a link, never 0. Messages that
are given out have numbers, too, from 1 on within their ``id`` and without a gap. Those of Get are
numbered together, under an ``id`` that stands for all of them.

**Flow.** Credit says below which number messages may be given (``below``), and below which they
have gone to the consumer (``passed``): the owner goes beyond neither the first nor a bound of bytes
that have not passed. It counts as it was said last, so that it may be less than before.

**Settlement.** All that is given out has to be settled, whatever its consumer acknowledges: where
nothing is to be acknowledged the asker settles what it has passed on. So a link that ends loses
nothing: what is out is given out again.
"""

from struct import Struct
from typing import Final, NamedTuple

from logstore.errors import BrokenProtocol
from logstore.relay.wire import DATA, FLAG, NUMBER, OPTIONAL, PARTS, REST, RUNS, SIGNED, Kind, Run
from logstore.relay.wire import Source as _Source

VERSION: Final = 1
SIZE: Final = Struct(">i")
# More than a message may have in any door, with what it says about itself.
FRAME_BYTES_MAX: Final = 256 << 20
EARLY_BYTES_MAX: Final = 1 << 10  # before the peer has shown that it has the secret
FIRST: Final = 1  # the number of the first message under an id
# Of Deliver frames whose messages have not all passed, beside the last: then their owner waits. The
# asker says what has passed before half of them have.
PASSED_BYTES: Final = 1 << 20
GONE, LATE, MOVED = 0, 1, 2  # why a consumer is cancelled

Runs = tuple[Run, ...]
Buffer = bytes | memoryview


class Hello(NamedTuple):
    """The asker begins."""

    magic: bytes
    low: int  # versions that it speaks
    high: int
    node: bytes  # who it is
    to: bytes  # and who it wants to speak to
    nonce: bytes


class Challenge(NamedTuple):
    """The owner answers."""

    version: int  # that is spoken
    node: bytes
    nonce: bytes


class Proof(NamedTuple):
    """Whoever sends it has the secret."""

    mac: bytes


class End(NamedTuple):
    """The link ends."""

    why: bytes  # for people


class Ping(NamedTuple):
    """Is anybody there?"""


class Pong(NamedTuple):
    """Yes."""


class Subscribe(NamedTuple):
    """Be a consumer of a queue."""

    id: int
    vhost: bytes
    queue: bytes
    number: int  # of the queue
    tag: bytes  # of the consumer, and what channel it is of, for people
    channel: bytes
    exclusive: bool
    priority: int
    prefetch: int  # how many it may have unsettled; 0: any number
    timeout_ms: int | None  # how long it may have one; None: as the queue says
    arguments: bytes  # as a field table of AMQP
    below: int  # as in Credit


class Subscribed(NamedTuple):
    """It is one."""

    id: int


class Refused(NamedTuple):
    """What was asked for with this id can't be."""

    id: int
    kind: bytes  # of error
    facts: tuple[bytes, ...]  # what it carries; of an unknown kind the first one is its text


class Credit(NamedTuple):
    """How far messages may be given to a consumer."""

    id: int
    below: int
    passed: int


class Deliver(NamedTuple):
    """Messages to a consumer."""

    id: int
    first: int  # the number of the first; the others follow
    again: bytes  # of which may have been given out before: bit n of the n-th, the lowest first
    batch: Buffer  # a record batch v2, not compressed


class Settle(NamedTuple):
    """These are done with."""

    id: int
    runs: Runs


class Release(NamedTuple):
    """These are ready again, at their places."""

    id: int
    failed: bool
    runs: Runs


class Reject(NamedTuple):
    """Nobody wants these."""

    id: int
    runs: Runs


class Unsubscribe(NamedTuple):
    """A consumer ends; what it has stays out."""

    id: int


class Unsubscribed(NamedTuple):
    """Nothing more is given to it."""

    id: int


class Cancelled(NamedTuple):
    """The same, and nobody had asked for it."""

    id: int
    why: int  # GONE: the queue is; LATE: it had a message for too long; MOVED: another node owns it


class Get(NamedTuple):
    """Give out one message."""

    id: int
    out: int  # the id under which it is out
    vhost: bytes
    queue: bytes
    number: int


class Got(NamedTuple):
    """It, or that there is none (no batch)."""

    id: int
    taken: int  # its number
    ready: int  # how many are left
    again: bool
    batch: Buffer


class Purge(NamedTuple):
    """Settle all that is ready."""

    id: int
    vhost: bytes
    queue: bytes
    number: int


class Purged(NamedTuple):
    """So many."""

    id: int
    total: int


class Look(NamedTuple):
    """How much is there?"""

    id: int
    vhost: bytes
    queue: bytes
    number: int


class Counts(NamedTuple):
    """What there is in a queue."""

    id: int
    ready: int
    out: int
    consumers: int
    head_ms: int | None  # when its first message was published; None: not known, or there is none


class Ask(NamedTuple):
    """Whatever else owners are asked for."""

    id: int
    kind: int
    content: Buffer


class Answer(NamedTuple):
    """And what they say."""

    id: int
    content: Buffer


Message = (
    Hello | Challenge | Proof | End | Ping | Pong
    | Subscribe | Subscribed | Refused | Credit | Deliver | Settle | Release | Reject
    | Unsubscribe | Unsubscribed | Cancelled | Get | Got | Purge | Purged | Look | Counts
    | Ask | Answer
)  # fmt: skip

_QUEUE = (DATA, DATA, NUMBER)  # virtual host, name, number
# Codes are never given again: what is not used any more leaves a hole.
_ROWS: Final[dict[int, tuple[type[Message], tuple[Kind, ...]]]] = {
    1: (Hello, (DATA, NUMBER, NUMBER, DATA, DATA, DATA)),
    2: (Challenge, (NUMBER, DATA, DATA)),
    3: (Proof, (DATA,)),
    4: (End, (DATA,)),
    5: (Ping, ()),
    6: (Pong, ()),
    16: (Subscribe, (
        NUMBER, *_QUEUE, DATA, DATA, FLAG, SIGNED, NUMBER, OPTIONAL, DATA, NUMBER,
    )),
    17: (Subscribed, (NUMBER,)),
    18: (Refused, (NUMBER, DATA, PARTS)),
    19: (Credit, (NUMBER, NUMBER, NUMBER)),
    20: (Deliver, (NUMBER, NUMBER, DATA, REST)),
    21: (Settle, (NUMBER, RUNS)),
    22: (Release, (NUMBER, FLAG, RUNS)),
    23: (Reject, (NUMBER, RUNS)),
    24: (Unsubscribe, (NUMBER,)),
    25: (Unsubscribed, (NUMBER,)),
    26: (Cancelled, (NUMBER, NUMBER)),
    27: (Get, (NUMBER, NUMBER, *_QUEUE)),
    28: (Got, (NUMBER, NUMBER, NUMBER, FLAG, REST)),
    29: (Purge, (NUMBER, *_QUEUE)),
    30: (Purged, (NUMBER, NUMBER)),
    31: (Look, (NUMBER, *_QUEUE)),
    32: (Counts, (NUMBER, NUMBER, NUMBER, NUMBER, OPTIONAL)),
    33: (Ask, (NUMBER, NUMBER, REST)),
    34: (Answer, (NUMBER, REST)),
}  # fmt: skip
_CODES: Final = {made: (code, kinds) for code, (made, kinds) in _ROWS.items()}

assert all(len(made._fields) == len(kinds) for made, kinds in _ROWS.values())


def framed(message: Message) -> tuple[bytes, ...]:
    """The message as a frame, in pieces: a long last field is not copied."""
    code, kinds = _CODES[type(message)]
    out: list[bytes] = [bytes((code,))]
    for kind, value in zip(kinds, message, strict=True):
        kind.write(out, value)
    last = out.pop() if kinds and kinds[-1] is REST else b""
    head = b"".join(out)
    head = SIZE.pack(len(head) + len(last)) + head
    return (head, last) if last else (head,)


def read(frame: memoryview) -> Message:
    """A frame without its size. Raises BrokenProtocol."""
    if not frame:
        raise BrokenProtocol("a message of the link is empty")
    row = _ROWS.get(frame[0])
    if row is None:
        raise BrokenProtocol(f"no message of the link has the code {frame[0]}")
    made, kinds = row
    source = _Source(frame[1:])
    fields = [kind.read(source) for kind in kinds]
    source.end()
    return made(*fields)
