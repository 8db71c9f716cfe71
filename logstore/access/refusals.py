"""Logs refused requests for the operator: who wanted to do what, with which object.

A client chooses the names and may try again as fast as it can. So an equal refusal is logged only
from time to time, with a count, and the total number of lines is bounded.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from logstore.access.audit import ACCESS, REFUSED, Audit, Unheard
from logstore.access.identity import Identity
from logstore.log_facts import about
from logstore.printable import printable

AGAIN_S: Final = 10.0  # the same is told again after so long
TOLD_MAX: Final = 100  # lines in that time, of all together; also what is remembered of them
# Of one user at one address, in that time, to the audit log: one request may bring tens of
# thousands, and each takes some microseconds of the sessions' thread.
AUDITED_MAX: Final = 1000
MORE: Final = "more than were counted"
NAME_SHOWN: Final = 249  # characters: as many as the name of a topic has at most

_log = logging.getLogger("logstore.access")

Refusal = tuple[str, str, str, str, str]  # principal, host, operation, kind and name of the object
Line = tuple[str, Mapping[str, object]]  # for people, and what it is about


class Refusals:
    """The refusals of one door. From any thread."""

    def __init__(self, now: Callable[[], float], audit: Audit | None = None) -> None:
        """``now``: seconds of a clock that only goes forward; ``audit`` is notified, too."""
        self._now = now
        self._audit = audit or Unheard()
        self._since: dict[Refusal, int] = {}  # how often each came again since it was told
        self._audited: dict[Identity, int] = {}
        self._began = now()
        self._unsaid = 0
        self._telling = threading.Lock()

    def tell(self, who: Identity, operation: str, kind: str, name: str, why: str) -> None:
        """``why``: the rule that decided, or that there is none."""
        name = name[:NAME_SHOWN]  # what is remembered, too: a client may choose one of megabytes
        refusal = who.principal, who.host, operation, kind, name
        with self._telling:
            lines = list(self._lines(refusal, why))
            times = self._audited[who] = self._audited.get(who, 0) + 1
        for line, facts in lines:
            _log.warning("%s", line, extra=about(**facts))
        if times <= AUDITED_MAX:
            self._audit.tell(ACCESS, who, f"{operation} {kind} {name}", REFUSED)
        elif times == AUDITED_MAX + 1:
            self._audit.tell(ACCESS, who, MORE, REFUSED)

    def _lines(self, refusal: Refusal, why: str) -> Iterator[Line]:
        if self._now() - self._began >= AGAIN_S:
            yield from self._begin_again()
        if refusal in self._since:
            self._since[refusal] += 1
        elif len(self._since) >= TOLD_MAX:
            self._unsaid += 1
        else:
            self._since[refusal] = 0
            yield f"{_shown(refusal)}: refused: {printable(why)}", _facts(refusal, reason=why)

    def _begin_again(self) -> Iterator[Line]:
        for refusal, times in self._since.items():
            if times:
                line = f"{_shown(refusal)}: refused {times} times more"
                yield line, _facts(refusal, count=times)
        if self._unsaid:
            yield f"{self._unsaid} other requests were refused", {"count": self._unsaid}
        self._began = self._now()
        self._since, self._audited, self._unsaid = {}, {}, 0


def _shown(refusal: Refusal) -> str:
    principal, host, operation, kind, name = refusal
    of = printable(name)
    return (
        f"{printable(principal)} from {printable(host) or 'this machine'}: {operation} {kind} {of}"
    )


def _facts(refusal: Refusal, **more: object) -> Mapping[str, object]:
    names = ("principal", "host", "operation", "kind", "name")
    return {**dict(zip(names, refusal, strict=True)), **more}
