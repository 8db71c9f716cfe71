"""The scripts that EVALSHA knows."""

import re
from collections import OrderedDict
from collections.abc import Generator, Sequence
from functools import partial
from typing import Final

from logstore.protocols.resp.scripts.calls import CALL_UNITS, Call
from logstore.protocols.resp.scripts.known import BY_PROGRAM, KNOWN, Known
from logstore.protocols.resp.scripts.program import canonical, program_id, sha_of
from logstore.protocols.resp.scripts.values import Value
from logstore.protocols.resp.wrong import Wrong

LOADED_MAX: Final = 1000  # scripts; the least recently used go first
FASTAPI_CACHE: Final = "fastapi-cache"
NAMES: Final = sorted(
    {FASTAPI_CACHE, *(name.strip() for it in KNOWN for name in it.of.split(","))}, key=str.lower
)
UNKNOWN: Final = (
    "this server runs no Lua; it knows the scripts of "
    f"{', '.join(NAMES[:-1])} and {NAMES[-1]}, and this is none of them"
)
# This library writes the namespace into the script's text.
_CLEAR_NAMESPACE: Final = re.compile(
    rb'for i , name in ipairs \( redis \. call \( "keys" , "([^"\\]*:\*)" \) \) do '
    rb'redis \. call \( "del" , name \) end',
    re.DOTALL,
)


class Loaded:
    """The scripts that EVALSHA knows in one process; none after a restart, as in Redis."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, Known] = OrderedDict()  # by their own SHA-1

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, sha: bytes) -> bool:
        return sha.lower() in self._known

    def find(self, sha: bytes) -> Known | None:
        found = self._known.get(sha.lower())
        if found is not None:
            self._known.move_to_end(sha.lower())
        return found

    def load(self, text: bytes) -> tuple[bytes, Known]:
        """The script's SHA-1 and implementation. Raises Wrong."""
        sha = sha_of(text)
        found = self._known.get(sha) or BY_PROGRAM.get(program_id(text) or "") or _template(text)
        if found is None:
            raise Wrong(UNKNOWN)
        self._known[sha] = found
        self._known.move_to_end(sha)
        if len(self._known) > LOADED_MAX:
            self._known.popitem(last=False)
        return sha, found

    def forget(self) -> None:
        self._known.clear()


def _template(text: bytes) -> Known | None:
    """The implementation of a script whose arguments are part of its text."""
    found = _CLEAR_NAMESPACE.fullmatch(canonical(text) or b"")
    return None if found is None else Known(FASTAPI_CACHE, partial(_clear, found[1]), ())


def _clear(
    pattern: bytes, call: Call, _: Sequence[bytes], __: Sequence[bytes]
) -> Generator[int, None, Value]:
    for name in (yield from call.keys(pattern)):
        call("del", name)
        yield CALL_UNITS
    return None
