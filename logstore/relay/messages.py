"""The messages of the link between two nodes, and their frames. Pure.

A frame is its size (4 bytes, of what follows), the kind of message (a byte), and its fields in
order (``wire.py``). The connecting node is the *asker*; the other one is the *owner*:

    begin    Hello, Challenge, Proof, Proof (``proof.py``); then what follows
    either   Ping is answered by Pong; End says why the link ends
    asker    Subscribe, Credit, Unsubscribe; Settle, Release, Reject; Get, Purge, Look, Ask
    owner    Subscribed, Deliver, Unsubscribed, Cancelled; Got, Purged, Counts, Answer; Refused, in
             place of the answer to Subscribe, Get, Purge, Look or Ask

The asker numbers its subscriptions and requests (``id``): each number is used once within a link,
and never 0. Delivered messages are numbered, too, from 1 within their ``id``, without gaps.
Messages fetched by Get are numbered together, under one ``id`` for all of them.

**Flow.** Credit states below which number messages may be delivered (``below``), and below which
they were passed to the consumer (``passed``). The owner exceeds neither the first nor a bound on
the bytes that were not passed yet. Only the latest Credit counts, so it may be less than before.

**Settlement.** Every delivered message must be settled, whatever its consumer acknowledges: for
consumers without acknowledgements, the asker settles messages that it has passed on. So a link that
ends loses nothing: unsettled messages are delivered again.
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
    """The asker's first message."""

    magic: bytes
    low: int  # versions that it speaks
    high: int
    node: bytes  # who it is
    to: bytes  # and who it wants to speak to
    nonce: bytes


class Challenge(NamedTuple):
    """The owner's first message."""

    version: int  # that is spoken
    node: bytes
    nonce: bytes


class Proof(NamedTuple):
    """The proof that the sender knows the secret."""

    mac: bytes


class End(NamedTuple):
    """The link ends, with the reason."""

    why: bytes  # for people


class Ping(NamedTuple):
    """A check whether the peer is alive."""


class Pong(NamedTuple):
    """The reply to a Ping."""


class Subscribe(NamedTuple):
    """Creates a consumer of a queue."""

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
    """The consumer exists."""

    id: int


class Refused(NamedTuple):
    """The request with this id is refused."""

    id: int
    kind: bytes  # of error
    facts: tuple[bytes, ...]  # what it carries; of an unknown kind the first one is its text


class Credit(NamedTuple):
    """The limits up to which messages may be delivered to a consumer."""

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
    """These messages are done."""

    id: int
    runs: Runs


class Release(NamedTuple):
    """These messages are ready again, at their places."""

    id: int
    failed: bool
    runs: Runs


class Reject(NamedTuple):
    """These messages are rejected."""

    id: int
    runs: Runs


class Unsubscribe(NamedTuple):
    """Ends a consumer; its unsettled messages stay delivered."""

    id: int


class Unsubscribed(NamedTuple):
    """The consumer gets nothing more."""

    id: int


class Cancelled(NamedTuple):
    """The owner has ended a consumer without a request."""

    id: int
    why: int  # GONE: the queue is; LATE: it had a message for too long; MOVED: another node owns it


class Get(NamedTuple):
    """Fetches one message."""

    id: int
    out: int  # the id under which it is out
    vhost: bytes
    queue: bytes
    number: int


class Got(NamedTuple):
    """The fetched message, or no batch if there is none."""

    id: int
    taken: int  # its number
    ready: int  # how many are left
    again: bool
    batch: Buffer


class Purge(NamedTuple):
    """Settles all ready messages."""

    id: int
    vhost: bytes
    queue: bytes
    number: int


class Purged(NamedTuple):
    """The number of purged messages."""

    id: int
    total: int


class Look(NamedTuple):
    """Requests the counts of a queue."""

    id: int
    vhost: bytes
    queue: bytes
    number: int


class Counts(NamedTuple):
    """The counts of a queue."""

    id: int
    ready: int
    out: int
    consumers: int
    head_ms: int | None  # when its first message was published; None: not known, or there is none


class Ask(NamedTuple):
    """Any other request to an owner."""

    id: int
    kind: int
    content: Buffer


class Answer(NamedTuple):
    """The reply to an Ask."""

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
