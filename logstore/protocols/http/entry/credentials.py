"""The credentials in a request: a name and a password, a token, or a cookie. Pure."""

from base64 import b64decode
from collections.abc import Mapping
from typing import Final, NamedTuple

COOKIE: Final = "logstore"  # the name of ours


class Basic(NamedTuple):
    """A name and a password (RFC 7617), as sent by the client."""

    name: bytes
    password: bytes


class Bearer(NamedTuple):
    """A token (RFC 6750)."""

    token: str


class Unreadable(NamedTuple):
    """An Authorization header that is neither."""


Credentials = Basic | Bearer | Unreadable


def given(headers: Mapping[str, str]) -> Credentials | None:
    """What the header Authorization says; None without one."""
    text = headers.get("authorization")
    if text is None:
        return None
    scheme, _, rest = text.strip().partition(" ")
    read = _SCHEMES.get(scheme.lower())
    return Unreadable() if read is None else read(rest.strip())


def _basic(text: str) -> Basic | Unreadable:
    try:
        name, colon, password = b64decode(text, validate=True).partition(b":")
    except ValueError:
        return Unreadable()
    return Basic(name, password) if colon else Unreadable()


def _bearer(text: str) -> Bearer | Unreadable:
    return Bearer(text) if text and text.isascii() and " " not in text else Unreadable()


_SCHEMES: Final = {"basic": _basic, "bearer": _bearer}


def cookies(headers: Mapping[str, str]) -> list[str]:
    """The values of our cookie, of which a browser may send several (RFC 6265, 5.4)."""
    found = []
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE and value:
            found.append(value)
    return found


def cookie(value: str, *, secure: bool, age_s: int | None = None) -> str:
    """A header Set-Cookie; ``age_s`` 0 has the browser forget it.

    No script sees it, and no other site's page has it sent.
    """
    parts = [f"{COOKIE}={value}", "HttpOnly", "SameSite=Strict", "Path=/"]
    if secure:
        parts.append("Secure")
    if age_s is not None:
        parts.append(f"Max-Age={age_s}")
    return "; ".join(parts)
