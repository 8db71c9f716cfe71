"""The WebSocket handshake (RFC 6455, 4.2): the request and its reply. Pure."""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from hashlib import sha1
from typing import Final

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY_BYTES: Final = 16
VERSION: Final = "13"

Headers = Mapping[str, str]  # by lower-case names


def is_asked_for(headers: Headers) -> bool:
    """Whether a request asks for another protocol, of which this is the only one here."""
    return "upgrade" in headers and "upgrade" in _tokens(headers.get("connection", ""), lower=True)


def fault_of(method: str, headers: Headers) -> str:
    """Why a request that asks for this is none; "": it is one."""
    if method != "GET":
        return f"a WebSocket connection begins with GET, not {method}"
    if "websocket" not in _tokens(headers["upgrade"], lower=True):
        return "there is no other protocol here than websocket"
    if "host" not in headers:
        return "a request without Host"
    if headers.get("sec-websocket-version") != VERSION:
        return f"Sec-WebSocket-Version must be {VERSION}"
    try:
        key = b64decode(headers.get("sec-websocket-key", ""), validate=True)
    except (Base64Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        return f"Sec-WebSocket-Key must be {KEY_BYTES} bytes in base64"
    return ""


def chosen(headers: Headers, spoken: Sequence[str]) -> str | None:
    """The subprotocol that is spoken: of those that the client offers the one it likes best.

    "": it offers none; None: none of what it offers is spoken.
    """
    offered = _tokens(headers.get("sec-websocket-protocol", ""))
    if not offered:
        return ""
    return next((it for it in offered if it in spoken), None)


def answer(headers: Headers, protocol: str) -> bytes:
    """What the client gets: from then on frames travel."""
    digest = sha1(headers["sec-websocket-key"].encode() + _GUID, usedforsecurity=False).digest()
    lines = [
        b"HTTP/1.1 101 Switching Protocols", b"upgrade: websocket", b"connection: Upgrade",
        b"sec-websocket-accept: " + b64encode(digest),
    ]  # fmt: skip
    if protocol:
        lines.append(b"sec-websocket-protocol: " + protocol.encode())
    return b"\r\n".join([*lines, b"", b""])


def _tokens(value: str, *, lower: bool = False) -> list[str]:
    found = [it.strip() for it in (value.lower() if lower else value).split(",")]
    return [it for it in found if it]
