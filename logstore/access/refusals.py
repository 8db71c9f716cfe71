"""What was refused, told to whoever runs the server: who wanted to do what, with which object.

A client chooses the names and tries again as fast as it can, so the same refusal is told once in a
while with how often it came, and of all together so many.
"""

import logging
from collections.abc import Callable
from typing import Final

from logstore.access.audit import ACCESS, REFUSED, Audit, Unheard
from logstore.access.identity import Identity
from logstore.printable import printable

AGAIN_S: Final = 10.0  # the same is told again after so long
TOLD_MAX: Final = 100  # lines in that time, of all together; also what is remembered of them
NAME_SHOWN: Final = 249  # characters: as many as the name of a topic has at most

_log = logging.getLogger("logstore.access")

Refusal = tuple[str, str, str, str, str]  # principal, host, operation, kind and name of the object


class Refusals:
    """Of one door. From any thread: a line may be told twice, or a count be one too low."""

    def __init__(self, now: Callable[[], float], audit: Audit | None = None) -> None:
        """``now``: seconds of a clock that only goes forward; ``audit`` is told, too."""
        self._now = now
        self._audit = audit or Unheard()
        self._since: dict[Refusal, int] = {}  # how often each came again since it was told
        self._began = now()
        self._unsaid = 0

    def tell(self, who: Identity, operation: str, kind: str, name: str, why: str) -> None:
        """``why``: the rule that says so, or that there is none."""
        self._audit.tell(ACCESS, who, f"{operation} {kind} {name[:NAME_SHOWN]}", REFUSED)
        if self._now() - self._began >= AGAIN_S:
            self._begin_again()
        refusal = who.principal, who.host, operation, kind, name
        if refusal in self._since:
            self._since[refusal] += 1
        elif len(self._since) >= TOLD_MAX:
            self._unsaid += 1
        else:
            self._since[refusal] = 0
            _log.warning("%s: refused: %s", _shown(refusal), printable(why))

    def _begin_again(self) -> None:
        self._began = self._now()
        since, self._since = self._since, {}
        for refusal, times in since.items():
            if times:
                _log.warning("%s: refused %d times more", _shown(refusal), times)
        if self._unsaid:
            _log.warning("%d other requests were refused", self._unsaid)
        self._unsaid = 0


def _shown(refusal: Refusal) -> str:
    principal, host, operation, kind, name = refusal
    of = printable(name[:NAME_SHOWN])
    return (
        f"{printable(principal)} from {printable(host) or 'this machine'}: {operation} {kind} {of}"
    )
