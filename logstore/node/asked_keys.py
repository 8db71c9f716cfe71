"""Requests about keys between nodes, on behalf of their clients, in both directions.

A request has a number, given by its sender, by which it can be cancelled: the sender no longer
waits for the reply, and an element that it would have taken out of a list stays there.
"""

from collections import Counter
from collections.abc import Callable
from itertools import count
from struct import Struct
from typing import TYPE_CHECKING, Final

from logstore.broker.queues.away.owner import Owner
from logstore.errors import BrokenProtocol, Failed, LogstoreError, NotOwned
from logstore.protocols.house import House
from logstore.protocols.relay.door import Answered, Asked, Asker

if TYPE_CHECKING:
    from logstore.protocols.resp.relayed import Relayed
    from logstore.protocols.session import Link, Session

DO: Final = 16  # kinds of questions of the link: number, and what ``resp/relaying.py`` says
GIVE_UP: Final = 17  # its number
_NUMBER: Final = Struct(">Q")
BYTES_MAX: Final = 64 << 20  # of one node, in questions without an answer
# Commands that wait for an answer of one node, some of them without limit: a link takes 10,000
# questions, and consumers of queues have to ask, too.
ASKED_MAX: Final = 8_000

Then = Callable[[bytes | LogstoreError], None]


class Asking:
    """The requests of this node."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._asked: Counter[Owner] = Counter()  # without an answer

    def ask(self, owner: Owner, content: bytes, then: Then) -> Callable[[], object]:
        """Ask the owner; ``then`` is called with the answer. Returns a call that gives the question
        up.
        """
        if self._asked[owner] >= ASKED_MAX:
            then(NotOwned(f"{ASKED_MAX} commands wait for the node that serves it: try again"))
            return lambda: None
        number = _NUMBER.pack(next(self._numbers))
        self._asked[owner] += 1

        def answered(answer: bytes | LogstoreError) -> None:
            self._asked[owner] -= 1
            if not self._asked[owner]:
                del self._asked[owner]
            then(answer)

        owner.ask(DO, number + content, answered)
        return lambda: owner.ask(GIVE_UP, number, lambda _: None, ends=True)


class AskedKeys:
    """The requests of other nodes to this one. Used in the sessions' thread."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._there: dict[Asker, dict[int, Relayed]] = {}  # those without an answer
        self._bytes: Counter[Asker] = Counter()  # of these
        self.asked: dict[int, Asked] = {DO: self._do, GIVE_UP: self._give_up}
        self._new_session: Callable[[Link], Session] | None = None

    def _do(self, asker: Asker, content: bytes, answered: Answered) -> None:
        from logstore.protocols.resp.relayed import Relayed  # few are asked

        number = _number_of(content)
        if self._bytes[asker] + len(content) > BYTES_MAX:
            answered(Failed(f"a node asks for at most {BYTES_MAX} bytes at once: try again"))
            return

        def done(answer: bytes | LogstoreError) -> None:
            self._take(asker, number)
            answered(answer)

        its = Relayed(
            self._sessions(), content[_NUMBER.size :], self._house.timer, self._house.soon, done
        )
        if not its.over:
            self._take(asker, number)
            self._there.setdefault(asker, {})[number] = its
            self._bytes[asker] += its.bytes

    def _take(self, asker: Asker, number: int) -> "Relayed | None":
        """Take a request that has no answer yet; None if it has one."""
        its = self._there.get(asker, {}).pop(number, None)
        if its is not None:
            self._bytes[asker] -= its.bytes
        return its

    def _sessions(self) -> "Callable[[Link], Session]":
        if self._new_session is None:
            found = self._house.doorways.get("resp")
            if found is None:  # it has no clients of its own
                from logstore.protocols.resp import doorway

                found = doorway.open(self._house)
            self._new_session = found.new_session
        return self._new_session

    def _give_up(self, asker: Asker, content: bytes, answered: Answered) -> None:
        its = self._take(asker, _number_of(content))
        if its is not None:
            its.give_up()
        answered(b"")

    def gone(self, asker: Asker) -> None:
        """Give up the requests of a node whose link has ended."""
        del self._bytes[asker]
        for its in self._there.pop(asker, {}).values():
            its.close()


def _number_of(content: bytes) -> int:
    if len(content) < _NUMBER.size:
        raise BrokenProtocol("a question about keys has no number")
    (number,) = _NUMBER.unpack_from(content)
    return int(number)
