"""The memory that all clients together make the process hold, and which of them is paused or
closed.

Each holder has an account with the number of bytes that it holds. A reserve is kept: a quarter of
the budget, or the size of the largest request if that is more. Until only the reserve is left,
every client continues, with shorter and shorter replies. Then the largest holders are paused: their
sockets are not read. One of them continues nevertheless, the one whose message is nearest to its
end, and may use the reserve: it frees memory when it is done, so they do not wait for each other
forever. If that does not help, or the budget is used up, the largest holder is closed, then the
next.

Pure: no socket, no clock, no thread but the sessions' own.
"""

import logging
from collections.abc import Callable
from typing import Final

from logstore.settings import StoreSettings
from logstore.usage import memory_bytes_max

# A holder of no more than this neither waits nor has its answers made shorter: there may be ten
# thousand of them.
_log = logging.getLogger("logstore.budget")

LITTLE_BYTES: Final = 64 << 10
PATIENCE_S: Final = 5.0  # that the largest holders wait before one of them loses
BUDGET_BYTES_MIN: Final = 16 << 20
BUDGET_BYTES_MAX: Final = 1 << 30  # by default
PART_OF_MEMORY: Final = 4  # by default no more than this part of what the process may use
RESERVE_PARTS: Final = 4
REQUEST_PARTS: Final = 2  # a request is no larger than this part: it may be copied once
ROOM_PARTS: Final = 16  # a room for messages that is larger is not kept for the next ones
# So much less than before is worth giving back to the system; memory that is used again at once
# costs less if it is kept.
EASED_BYTES: Final = 64 << 20  # or a quarter of the budget, if that is less
ANSWER_PARTS: Final = 16  # of what is left: so many who do not read leave something to the next
GROUPS_PARTS: Final = 4  # what members say of themselves: that part of the budget, all together
assert LITTLE_BYTES * 128 <= BUDGET_BYTES_MIN, "many who hold little are no crowd"


class Account:
    """The memory that the process holds for one holder."""

    __slots__ = ("_budget", "_lose", "held_bytes", "missing_bytes", "own_bytes", "waiting")

    def __init__(self, budget: "Budget", lose: Callable[[str], None] | None) -> None:
        self._budget = budget
        self._lose = lose
        self.own_bytes = 0  # that nobody else holds
        self.held_bytes = 0  # with what it shares with others: who holds most is told by it
        self.missing_bytes = 0  # until a message that has begun is whole
        self.waiting = False  # it was told to, and has not gone on

    @property
    def losable(self) -> bool:
        return self._lose is not None

    def hold(self, own_bytes: int, shared_bytes: int = 0, missing_bytes: int = 0) -> None:
        """From now on it holds this. ``shared_bytes`` of it are counted by ``Budget.share``."""
        self.missing_bytes = missing_bytes
        if own_bytes != self.own_bytes or own_bytes + shared_bytes != self.held_bytes:
            assert own_bytes >= 0
            assert shared_bytes >= 0
            more = own_bytes - self.own_bytes
            self.own_bytes, self.held_bytes = own_bytes, own_bytes + shared_bytes
            self._budget.changed(self, more)

    def must_wait(self) -> bool:
        """Whether it may not hold more for now."""
        budget = self._budget
        self.waiting = (
            budget.tight and self.held_bytes > budget.fair_bytes and budget.favoured is not self
        )
        return self.waiting

    def close(self) -> None:
        """It holds nothing any more, and its holder, which has it, is let go of."""
        self.hold(0)
        self.waiting = False
        self._lose = None
        self._budget.forget(self)

    def lose(self, reason: str) -> None:
        """Have its holder let go of everything."""
        assert self._lose is not None
        self._lose(reason)


class Budget:
    """The accounts of all holders, and the limit for all of them."""

    def __init__(self, bytes_max: int, request_bytes_max: int = 0) -> None:
        """``request_bytes_max``: the largest request, as far as there is room for such a one."""
        assert bytes_max >= BUDGET_BYTES_MIN
        self.bytes_max = bytes_max
        reserve = max(bytes_max // RESERVE_PARTS, min(request_bytes_max, self.request_bytes_max))
        self.tight_bytes = bytes_max - reserve
        assert min(request_bytes_max, self.request_bytes_max) <= reserve <= self.tight_bytes
        self.total_bytes = 0
        self.lost = 0  # holders that have lost
        self.refused = 0  # requests that were not taken for it
        self.favoured: Account | None = None  # goes on although it holds much
        self.pressed: Callable[[], object] = lambda: None  # called when ``relieve`` has to be
        self._holders: set[Account] = set()
        self._large: set[Account] = set()
        self._shared: dict[int, tuple[int, object]] = {}  # by identity: how many hold it
        self._since: float | None = None  # it is tight, and nobody has lost since then
        self._watched_bytes = min(EASED_BYTES, bytes_max // RESERVE_PARTS)
        self._peak_bytes = 0  # the most since ``eased`` was called last
        self._given_bytes = 0  # the most that the process has of the system for it

    def open(self, lose: Callable[[str], None] | None = None) -> Account:
        """An account. ``lose(reason)``: its holder is the one; without it never is."""
        return Account(self, lose)

    # How much there is

    @property
    def request_bytes_max(self) -> int:
        """The largest request that can be taken."""
        return self.bytes_max // REQUEST_PARTS

    @property
    def room_bytes_max(self) -> int:
        """The most that is kept for messages that may come."""
        return self.bytes_max // ROOM_PARTS

    @property
    def groups_bytes_max(self) -> int:
        """For what members of groups say of themselves."""
        return self.bytes_max // GROUPS_PARTS

    @property
    def tight(self) -> bool:
        return self.total_bytes > self.tight_bytes

    @property
    def fair_bytes(self) -> int:
        """Who holds more waits while it is tight."""
        return max(LITTLE_BYTES, self.bytes_max // 2 // max(len(self._large), 1))

    def answer_bytes(self, wanted: int) -> int:
        """How long an answer may be that is held until its client reads it."""
        return min(wanted, max((self.tight_bytes - self.total_bytes) // ANSWER_PARTS, LITTLE_BYTES))

    # What is held

    def changed(self, account: Account, more: int) -> None:
        """An account's own: it holds ``more`` bytes."""
        held = account.held_bytes
        if held:
            self._holders.add(account)
        else:
            self._holders.discard(account)
        if held > LITTLE_BYTES:
            self._large.add(account)
        elif self._large:
            self._large.discard(account)
        self._add(more)

    def _add(self, more: int) -> None:
        before, self.total_bytes = self.total_bytes, self.total_bytes + more
        assert self.total_bytes >= 0
        if more > 0:
            after = self.total_bytes
            if after > self._peak_bytes:
                self._peak_bytes = after
            if (
                after > self.bytes_max
                or before <= self._watched_bytes < after
                or before <= self.tight_bytes < after
            ):
                self.pressed()

    def share(self, data: bytes) -> None:
        """One more holds this object: it is counted once, however many do."""
        holders, _ = self._shared.get(id(data), (0, None))
        self._shared[id(data)] = holders + 1, data  # kept, so that no other gets its identity
        if not holders:
            self._add(len(data))

    def unshare(self, data: bytes) -> None:
        """One holder less."""
        holders, _ = self._shared[id(data)]
        if holders > 1:
            self._shared[id(data)] = holders - 1, data
        else:
            del self._shared[id(data)]
            self._add(-len(data))

    def forget(self, account: Account) -> None:
        """Of an account that is closed."""
        if self.favoured is account:
            self.favoured = None

    # Who loses

    def relieve(self, now: float) -> None:
        """Have those lose who must, and choose who goes on.

        To be called when ``pressed`` was, and often from then on while it is tight.
        """
        if not self.tight:
            self._since = self.favoured = None
            return
        while self.total_bytes > self.bytes_max and self._lose_largest("is used up"):
            self._since = now
        if self._since is None:
            self._since = now
        elif now - self._since >= PATIENCE_S:
            self._since = now
            self.favoured = None
            self._lose_largest("has been nearly used up for too long")
        self._favour()

    def _lose_largest(self, why: str) -> bool:
        losable = [it for it in self._large or self._holders if it.losable]
        if not losable:
            return False
        largest = max(losable, key=lambda it: it.held_bytes)
        self.lost += 1
        largest.lose(
            f"it makes the server hold {largest.held_bytes} bytes, more than any other, and "
            f"memory.clients.max.bytes ({self.bytes_max}) {why}"
        )
        assert not largest.held_bytes, "who loses lets go"
        return True

    def _favour(self) -> None:
        """Let the one go on that needs least to be done with its message."""
        if self.favoured is None or not self.favoured.missing_bytes:
            waiting = [it for it in self._large if it.waiting and it.missing_bytes]
            self.favoured = min(waiting, key=lambda it: it.missing_bytes, default=None)

    # What is given back

    @property
    def watched(self) -> bool:
        """Whether ``eased`` has to be asked now and then."""
        return max(self._given_bytes, self._peak_bytes) > self._watched_bytes

    def eased(self) -> bool:
        """Whether so much less was held, since this was asked last, that it should be given back.

        Then it is taken to be given back.
        """
        peak, self._peak_bytes = self._peak_bytes, self.total_bytes
        self._given_bytes = max(self._given_bytes, peak)
        if self._given_bytes - peak < self._watched_bytes:
            return False
        self._given_bytes = peak
        return True


def budget_of(settings: StoreSettings) -> Budget:
    """As it is set; else by what the process may use."""
    most = settings.memory_clients_max_bytes
    if not most:
        most = min(BUDGET_BYTES_MAX, memory_bytes_max() // PART_OF_MEMORY)
    budget = Budget(max(most, BUDGET_BYTES_MIN), settings.socket_request_max_bytes)
    asked, largest = settings.socket_request_max_bytes, budget.request_bytes_max
    if asked > largest:
        _log.warning(
            "requests are taken up to %d bytes, not %d (socket.request.max.bytes): half of "
            "memory.clients.max.bytes", largest, asked,
        )  # fmt: skip
    return budget
