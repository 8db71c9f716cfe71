"""Heart-beats: the intervals agreed by the ``heart-beat`` headers (1.1, "Heart-beating"). Pure.

Any byte is a sign of life. The server sends one after half of the promised interval, because
clients hardly tolerate more than the interval; it waits for twice the client's interval.
"""

from typing import Final, NamedTuple

from logstore.stomp.faults import StompFault, invalid_header
from logstore.stomp.frames import shown

LEAST_MS: Final = 1000  # the server's own: more often is more work than it tells
MOST_MS: Final = 1 << 31


class Beats(NamedTuple):
    """The intervals in seconds; 0: none."""

    sends: float  # the server does, at the latest after so long
    expects: float  # so does its client

    @property
    def header(self) -> str:
        """As CONNECTED says it."""
        return f"{round(self.sends * 1000)},{round(self.expects * 1000)}"


NONE: Final = Beats(0.0, 0.0)


def agreed(given: str | None) -> Beats:
    """What comes of what a client can send, and wants to get. Raises StompFault."""
    if given is None:
        return NONE
    can, comma, wants = given.partition(",")
    if not comma:
        raise _bad(given)
    return Beats(_seconds(wants, given), _seconds(can, given))


def _seconds(number: str, given: str) -> float:
    number = number.strip()
    if not (number.isascii() and number.isdecimal()) or len(number) > 10 or int(number) > MOST_MS:
        raise _bad(given)
    return max(int(number), LEAST_MS) / 1000 if int(number) else 0.0


def _bad(given: str) -> StompFault:
    return invalid_header(
        f"heart-beat takes two numbers of milliseconds, as 0,10000: not '{shown(given)}'"
    )
