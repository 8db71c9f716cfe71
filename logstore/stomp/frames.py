"""One frame: a command, headers, a body; parsing and writing of its head.

Headers are texts. Bytes that are not UTF-8 are kept by ``surrogateescape``, as in AMQP's fields.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from logstore.printable import printable
from logstore.records.encode import Pieces
from logstore.stomp.faults import BadFrame
from logstore.stomp.versions import Rules

Body = bytes | Pieces
Headers = Mapping[str, str]

HEADERS_MAX: Final = 1000  # of one frame; RabbitMQ takes 100
# Of the command and all headers: as a message's properties they still fit a frame of AMQP, whose
# clients could not get them otherwise.
HEAD_BYTES_MAX: Final = 64 << 10
COMMAND_BYTES_MAX: Final = 32  # the longest that there is has 11
SHOWN: Final = 60  # characters of what a peer has sent

SEND: Final = "SEND"
CONNECTING: Final = ("CONNECT", "STOMP")

_ESCAPED: Final = re.compile(r"\\(.?)", re.DOTALL)
_SPECIAL: Final = re.compile(r"[\\:\n\r\0]")
# For a NUL there is no escape, and it ends a frame: of an AMQP sender's header, something is shown.
_NAMES: Final = {"\\": "\\\\", ":": "\\c", "\n": "\\n", "\r": "\\r", "\0": "\ufffd"}
# By whether a version knows escapes, and whether a carriage return must be one. Without escapes a
# line end in a value would be the end of its header, so it is written as if there were some.
_WRITTEN: Final = {
    (True, False): str.maketrans(_NAMES),
    (True, True): str.maketrans({it: _NAMES[it] for it in "\\:\n\0"}),
    (False, True): str.maketrans({it: _NAMES[it] for it in "\n\r\0"}),
}


class Frame(NamedTuple):
    """One complete frame."""

    command: str
    headers: Headers
    body: Body = b""


def text(data: bytes) -> str:
    """As it stands in headers."""
    return data.decode("utf-8", "surrogateescape")


def data(given: str) -> bytes:
    """The reverse of ``text``."""
    return given.encode("utf-8", "surrogateescape")


def shown(given: str) -> str:
    """The beginning of what a peer has sent, for a message."""
    return printable(given[:SHOWN])


def read_head(head: bytes, rules: Rules) -> tuple[str, dict[str, str]]:
    """The command and the headers of what stands before a frame's empty line. Raises BadFrame.

    Of a header that comes several times the first counts (1.2, "Repeated Header Entries").
    """
    command, *lines = text(head).split("\n")
    if len(lines) > HEADERS_MAX:
        raise BadFrame(f"a frame of {len(lines)} headers: at most {HEADERS_MAX} are allowed")
    command = command.removesuffix("\r")
    if command in CONNECTING:
        rules = rules._replace(escapes=None, returns=True)
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.removesuffix("\r").partition(":")
        if not colon or not name:
            what = "name" if colon else "colon"
            raise BadFrame(f"a header without a {what} in {shown(command)}: '{shown(line)}'")
        if not rules.returns and "\r" in line[:-1]:
            raise BadFrame(f"a carriage return within the header '{shown(name)}'")
        if rules.escapes is not None and "\\" in line:
            name, value = _unescaped(name, rules.escapes), _unescaped(value, rules.escapes)
        if name not in headers:
            headers[name] = value.lstrip() if rules.trims else value
    return command, headers


def _unescaped(given: str, escapes: Mapping[str, str]) -> str:
    """Raises BadFrame for an escape that there is not: 1.2 calls that a fatal error."""
    for sign in dict.fromkeys(_ESCAPED.findall(given)):
        if sign not in escapes:
            raise BadFrame(f"no escape in headers: '\\{shown(sign)}'")
    # One kind at a time, however many there are. What stands for a backslash is kept out of the
    # way of the others meanwhile: a head has no NUL.
    given = given.replace("\\\\", "\0")
    for sign, meant in escapes.items():
        given = given.replace(f"\\{sign}", meant)
    return given.replace("\0", "\\")


def escaped(given: str, rules: Rules, *, name: bool = False) -> str:
    """As it is written in a header. ``name``: which ends at its first colon."""
    if _SPECIAL.search(given) is None:
        return given
    knows = rules.escapes is not None
    if name and not knows:
        given = given.replace(":", "\\c")
    return given.translate(_WRITTEN[knows, rules.returns])


def header_lines(headers: Iterable[tuple[str, str]], rules: Rules) -> bytes:
    """These headers, one a line."""
    return data("".join([
        f"{escaped(name, rules, name=True)}:{escaped(value, rules)}\n" for name, value in headers
    ]))  # fmt: skip


def written(command: str, headers: Iterable[tuple[str, str]], body: bytes, rules: Rules) -> bytes:
    """A whole frame. One that has a body says how long that is: it may hold a NUL."""
    if command == "CONNECTED":
        rules = rules._replace(escapes=None, returns=True)
    length = b"content-length:%d\n" % len(body) if body else b""
    return b"".join((
        command.encode(), b"\n", header_lines(headers, rules), length, b"\n", body, b"\0"
    ))  # fmt: skip
