"""The versions of STOMP and their differences on the wire.

1.0 has no escapes, 1.1 has three, and 1.2 has one more and forbids carriage returns in headers. The
frames that begin a connection (CONNECT, STOMP, CONNECTED) have no escapes in any version, because
neither side knows the other's version yet.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

V1_0, V1_1, V1_2 = "1.0", "1.1", "1.2"
VERSIONS: Final = (V1_0, V1_1, V1_2)  # the highest last


class Rules(NamedTuple):
    """How headers are parsed and written."""

    # What stands behind a backslash, and means; None: a backslash is a backslash.
    escapes: Mapping[str, str] | None
    returns: bool  # a header may hold a carriage return
    trims: bool  # blanks before a header's value are none of it


_THREE: Final = {"n": "\n", "c": ":", "\\": "\\"}

# Before a connection has a version: of its first frame.
FIRST: Final = Rules(None, returns=True, trims=False)
RULES: Final[Mapping[str, Rules]] = {
    V1_0: Rules(None, returns=True, trims=True),
    V1_1: Rules(_THREE, returns=True, trims=False),
    V1_2: Rules({**_THREE, "r": "\r"}, returns=False, trims=False),
}


def common(accepted: str | None) -> str | None:
    """The highest version that both speak, of an ``accept-version`` header; None: there is none.

    Who sends no such header speaks 1.0.
    """
    if accepted is None:
        return V1_0
    given = {it.strip() for it in accepted.split(",")}
    return next((it for it in reversed(VERSIONS) if it in given), None)
