"""Identifies a Lua text, whatever its layout.

Spaces, comments, semicolons, the kind of quotes around a string, and the case of command names are
ignored: texts that differ only in these are the same program.
"""

import re
from hashlib import sha1
from typing import Final

TEXT_BYTES_MAX: Final = 16 << 10  # no known one is half as long

_TOKEN: Final = re.compile(
    rb"(?P<skip>[ \t\r\n\f\v;]+|--\[\[.*?\]\]|--[^\n]*)"
    rb"|(?P<string>'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\")"
    rb"|(?P<word>[A-Za-z_0-9]+(?:\.[0-9]+)?)"
    rb"|(?P<sign>\.\.|[~=<>]=|[^\sA-Za-z_0-9'\"])",
    re.DOTALL,
)
_CALLS: Final = (b"redis . call (", b"redis . pcall (")
# Options of commands are written in either case, too.
_OPTIONS: Final = frozenset({b"ex", b"px", b"nx", b"xx", b"withscores"})


def canonical(text: bytes) -> bytes | None:
    """The program without its layout; None if it is too long or not Lua."""
    if len(text) > TEXT_BYTES_MAX:
        return None
    tokens: list[bytes] = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            return None
        at = found.end()
        if found["string"] is not None:
            content = found["string"][1:-1]
            called = b" ".join(tokens[-4:]) in _CALLS
            if called or content.lower() in _OPTIONS:
                content = content.lower()
            tokens.append(b'"%b"' % content)
        elif found["skip"] is None:
            tokens.append(found[0])
    return b" ".join(tokens)


def program_id(text: bytes) -> str | None:
    """The program's key in the table of known programs; None if it cannot be in the table."""
    program = canonical(text)
    return None if program is None else sha1(program, usedforsecurity=False).hexdigest()


def sha_of(text: bytes) -> bytes:
    """The SHA-1 that SCRIPT LOAD returns and EVALSHA takes."""
    return sha1(text, usedforsecurity=False).hexdigest().encode()
