"""The largest frames of the STOMP door: what ``bench.turns`` and the tests send.

Each is what one read may bring, after frames that have prepared it, and ends with a receipt; or it
is refused, and its connection ended.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from logstore.stomp.frames import header_lines
from logstore.stomp.versions import RULES, V1_2

BODY_BYTES: Final = 16 << 20  # amqp.max.message.size
HEADERS: Final = 999  # of a frame, beside its own
ACTIONS: Final = 10_000  # of a transaction
TRANSACTIONS: Final = 16  # of a connection
SUBSCRIPTIONS: Final = 2047  # of a connection
EARLY_BYTES: Final = 15_000  # of a CONNECT
ENDED: Final = ": ended"  # suffix of the names of requests that end the connection
MARKED: Final = {"receipt": "mark"}
MARK: Final = b"RECEIPT\nreceipt-id:mark\n"

CONNECT: Final = b"CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0"
Q, HEAD_BYTES = "/queue/large-stomp", 60_000


@dataclass(frozen=True, slots=True)
class Large:
    """``data`` is sent once what is ``before`` has its receipt."""

    name: str  # begins with the command's
    data: bytes
    before: bytes = b""
    connect: bool = False  # it is the first of its connection


def frame(command: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    lines = header_lines(headers.items(), RULES[V1_2])
    return b"".join((command.encode(), b"\n", lines, b"\n", body, b"\0"))


def send(body: bytes = b"x", **headers: str) -> bytes:
    given = {"destination": Q, "content-length": str(len(body))} | headers
    return frame("SEND", given, body)


def marked(data: bytes = b"") -> bytes:
    """The data followed by a frame with a receipt."""
    return data + send(receipt="mark")


def stomp(actions: int = ACTIONS, body_bytes: int = BODY_BYTES) -> Iterator[Large]:
    """All frames. ``actions``: as many as one transaction may have."""
    many = {f"header-{n}": "v" for n in range(HEADERS - 4)}
    for command in ("CONNECT", "STOMP"):
        hello = {"accept-version": "1.2", "login": "guest", "passcode": "guest"}
        known = {f"header-{n}": "v" for n in range(HEADERS - 4)}
        yield Large(f"{command}, many headers", frame(command, hello | known), connect=True)
        long = hello | {"long": "x" * EARLY_BYTES}
        yield Large(f"{command}, long headers", frame(command, long), connect=True)
    yield from _sends(actions, body_bytes, many)
    yield from _settlements(actions, many)
    begin = frame("BEGIN", {"transaction": "t"})
    several = [frame("BEGIN", {"transaction": str(n)} | many) for n in range(TRANSACTIONS)]
    yield Large("BEGIN, many headers", b"".join(several))
    within = send(transaction="t") * (actions - 1)
    yield Large("COMMIT, of many", frame("COMMIT", {"transaction": "t"}), begin + within)
    yield Large("ABORT, of many", frame("ABORT", {"transaction": "t"}), begin + within)
    topics = b"".join([
        frame("SUBSCRIBE", {"destination": f"/topic/t.{n}", "id": str(n)})
        for n in range(min(actions, SUBSCRIPTIONS))
    ])  # fmt: skip
    gone = [frame("UNSUBSCRIBE", {"id": str(n)}) for n in range(min(actions, SUBSCRIPTIONS))]
    yield Large("SUBSCRIBE, many", topics)
    yield Large("UNSUBSCRIBE, many", b"".join(gone), topics)
    yield Large("DISCONNECT with many subscriptions", frame("DISCONNECT", MARKED), topics)
    yield Large(f"ACK that ends many subscriptions{ENDED}", frame("ACK", {"id": "0"}), topics)
    yield Large("lines between frames", b"\n" * (actions * 20))
    yield from _ended(actions, body_bytes)


def _sends(actions: int, body_bytes: int, many: Mapping[str, str]) -> Iterator[Large]:
    yield Large("SEND, many headers", send(**many))
    yield Large("SEND, long headers", send(long="x" * HEAD_BYTES))
    yield Large("SEND, escapes", send(escaped="\\" * (HEAD_BYTES // 2)))
    other = [send(n=str(n)) for n in range(actions // 5)]
    yield Large("SEND, other headers each time", b"".join(other))
    yield Large("SEND, a long body", send(b"x" * body_bytes))
    cut = frame("SEND", {"destination": Q}, b"x" * body_bytes)
    yield Large("SEND, a body that ends at a NUL", cut)
    yield Large("SEND, many messages", send() * actions)


def _settlements(actions: int, many: Mapping[str, str]) -> Iterator[Large]:
    """Settlements of unknown messages: a client must first be told the ids of real ones."""
    for command in ("ACK", "NACK"):
        long = frame(command, {"id": "x" * HEAD_BYTES})
        yield Large(f"{command}, a long id{ENDED}", long)
        yield Large(f"{command}, many headers{ENDED}", frame(command, {"id": "0"} | many))
        yield Large(f"{command}, many{ENDED}", frame(command, {"id": "0"}) * actions)


def _ended(actions: int, body_bytes: int) -> Iterator[Large]:
    """Invalid or too large frames, each of which ends its connection."""
    endless = b"long:" + b"x" * (1 << 20)
    for command in ("CONNECT", "SEND"):
        head = f"{command}\ndestination:{Q}\n".encode()
        connect = command == "CONNECT"
        yield Large(f"{command}, a head without an end{ENDED}", head + endless, connect=connect)
        crowd = b"a:\n" * (100 * actions)
        yield Large(f"{command}, a million headers{ENDED}", head + crowd, connect=connect)
    head = f"SEND\ndestination:{Q}\n".encode()
    body = b"x" * (max(body_bytes, BODY_BYTES) + 1)  # a shorter one would be waited for
    yield Large(f"SEND, a body without an end{ENDED}", head + b"\n" + body)
    longer = head + b"content-length:%d\n\n" % len(body)
    yield Large(f"SEND, a body that is longer than may be{ENDED}", longer + body)
    yield Large(f"SEND, no command{ENDED}", b"x" * (1 << 20))
