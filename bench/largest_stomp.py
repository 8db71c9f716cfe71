"""The largest legal frames of the STOMP door: what ``bench.turns`` and the tests send.

Each is what one read may bring, after frames that have prepared it, and ends with a receipt.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from logstore.stomp.frames import header_lines
from logstore.stomp.versions import RULES, V1_2

BODY_BYTES: Final = 16 << 20  # amqp.max.message.size
HEADERS: Final = 999  # of a frame, beside its own
ACTIONS: Final = 10_000  # of a transaction
MARK: Final = b"RECEIPT\nreceipt-id:mark\n"

CONNECT: Final = b"CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\n\n\0"
Q, HEAD_BYTES = "/queue/large-stomp", 60_000


@dataclass(frozen=True, slots=True)
class Large:
    """``data`` is sent once what is ``before`` has its receipt."""

    name: str
    data: bytes
    before: bytes = b""


def frame(command: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    lines = header_lines(headers.items(), RULES[V1_2])
    return b"".join((command.encode(), b"\n", lines, b"\n", body, b"\0"))


def send(body: bytes = b"x", **headers: str) -> bytes:
    given = {"destination": Q, "content-length": str(len(body))} | headers
    return frame("SEND", given, body)


def marked(data: bytes = b"") -> bytes:
    """With a receipt behind it all."""
    return data + send(receipt="mark")


def stomp(actions: int = ACTIONS, body_bytes: int = BODY_BYTES) -> Iterator[Large]:
    """All of them. ``actions``: as many as one transaction has."""
    many = {f"header-{n}": "v" for n in range(HEADERS - 4)}
    yield Large("many headers", send(**many))
    yield Large("long headers", send(long="x" * HEAD_BYTES))
    yield Large("escapes", send(escaped="\\" * (HEAD_BYTES // 2)))
    yield Large("other headers each time", b"".join([send(n=str(n)) for n in range(actions // 5)]))
    yield Large("a long body", send(b"x" * body_bytes))
    yield Large("a body that ends at a NUL", frame("SEND", {"destination": Q}, b"x" * body_bytes))
    yield Large("many messages", send() * actions)
    yield Large("line ends", b"\n" * (actions * 20))
    begin = frame("BEGIN", {"transaction": "t"})
    within = send(transaction="t") * (actions - 1)
    yield Large("a commit", frame("COMMIT", {"transaction": "t"}), begin + within)
    yield Large("an abort", frame("ABORT", {"transaction": "t"}), begin + within)
    topics = b"".join([
        frame("SUBSCRIBE", {"destination": f"/topic/t.{n}", "id": str(n)})
        for n in range(min(actions, 500))
    ])  # fmt: skip
    yield Large("many subscriptions", topics)
    yield Large("an end with many subscriptions", frame("DISCONNECT", {"receipt": "mark"}), topics)
