"""Changes that this node makes to shared facts: kept once it has read its own records back.

One batch at a time is in flight, and changes made meanwhile go into the next one, so that each
change is made with knowledge of everything before it. When a batch is read back, its position
decides the result of each change:

    the fact is valid             kept
    it is second of its name      kept if the first fact is equal, otherwise refused; a policy then
                                  replaces the first one
    it refers to a deleted fact   refused, unless that fact was second: then it refers to the first

The node that made an invalid fact deletes it, and also its own facts that refer to a deleted one.
Everything runs in one thread.
"""

from collections import Counter, deque
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

from logstore.amqp import fields
from logstore.cluster.facts import (
    BY,
    TOPIC,
    Changes,
    Known,
    access_key,
    headed,
    key_of,
    level_of,
    named,
    number_of,
    row_of,
    takes,
    with_number,
)
from logstore.cluster.facts_follower import TURN_RECORDS, FactsFollower, Then
from logstore.cluster.ids import DEFAULT_HOST, WITHIN
from logstore.errors import Closed, ClusterBehind, LogstoreError, RecordTooLarge, Refused
from logstore.kept.keeping import Keeping
from logstore.kept.queues import (
    DEFAULT_VHOST,
    Kept,
    KeptBinding,
    KeptExchange,
    KeptNews,
    KeptPolicy,
    KeptQueue,
    KeptRouting,
    KeptVhost,
    Numbers,
)
from logstore.kept.user_rows import is_bad
from logstore.kept.users import AccessNews, KeptAccess, Unreadable
from logstore.log import NOT_KNOWN, Log
from logstore.records.encode import encode

BATCH_RECORDS: Final = TURN_RECORDS  # of several changes
BATCH_BYTES_MAX: Final = 900_000  # a broker takes 1 MiB, with what is around it
WAITING_BYTES_MAX: Final = 16 << 20  # of what is not read back
WAITING_MAX: Final = 65_536  # changes
TRIES_MAX: Final = 4  # of a change that refers to what was second

Forgotten = Known | Unreadable
Row = tuple[bytes, bytes | None]  # of a key: None forgets it


class _Change:
    """A change that was not read back yet."""

    __slots__ = (
        "counted", "done", "error", "forget", "keep", "keeping", "new", "of_users", "size", "tries",
    )  # fmt: skip

    def __init__(
        self, keep: Sequence[Known], forget: Sequence[bytes], keeping: Keeping | None, size: int
    ) -> None:
        self.keep = list(keep)
        self.forget = forget  # keys
        self.keeping = keeping  # None: nobody waits for it
        self.size = size
        self.counted = [key_of(it) for it in keep], list(forget)  # as they wait
        self.of_users = any(number_of(it) is None for keys in self.counted for it in keys)
        self.new: set[bytes] = set()  # keys of which there was nothing before
        self.tries = 0
        self.done = False
        self.error: LogstoreError | None = None


class _Sent(NamedTuple):
    changes: list[_Change]
    by: bytes
    last: int  # the mark of its last record


class FactsKeeper:
    """The changes of one node."""

    def __init__(
        self,
        follower: FactsFollower,
        log: Log,
        soon: Callable[[Callable[[], object]], object],
        now_ms: Callable[[], int],
        token: bytes,
        numbers: Numbers,
    ) -> None:
        """``token``: unique to this process, by which it recognises its own batches."""
        self._follower = follower
        self._facts = follower.facts
        self._log = log
        self._soon = soon
        self._now_ms = now_ms
        self._token = token
        self._numbers = numbers
        self._batches = 0
        # Those that somebody waits for, in the order in which they are told. Users are told of
        # beside the rest: of them nothing is sent again, and what others append comes after that.
        self._order: dict[bool, deque[_Change]] = {False: deque(), True: deque()}
        self._waiting: deque[_Change] = deque()  # to be sent
        self._sent: _Sent | None = None
        self._asked: _Sent | None = None  # of which nobody knows where it stands
        self._size = 0  # of all that is not read back
        self._keeping: Counter[bytes] = Counter()  # by those that wait to be sent
        self._forgetting: Counter[bytes] = Counter()  # by those that are not read back
        self._instead: dict[int, int] = {}  # the first of its name, of what was second here
        self._routing: Callable[[KeptNews], object] = lambda it: None
        self._access: Callable[[AccessNews], object] = lambda it: None
        follower.told = self._told
        follower.looked = self._looked

    def follow(
        self,
        routing: Callable[[KeptNews], object] | None = None,
        access: Callable[[AccessNews], object] | None = None,
    ) -> None:
        """Set the receiver of changes, which include some of this node's own."""
        self._routing = routing or self._routing
        self._access = access or self._access

    @property
    def failure(self) -> LogstoreError | None:
        """Why nothing more is read."""
        return self._follower.failure

    @property
    def unread(self) -> int:
        """The number of known records that were not read yet."""
        return max(0, self._log.safe - self._follower.at)

    def read_to_end(self, then: Then) -> None:
        """As FactsFollower.read_to_end: before it is said that there is none of a name."""
        self._follower.read_to_end(then)

    def begin(self, then: Then) -> None:
        """``then`` is called once all is read and the host ``/`` exists, or with the error."""

        def made(keeping: Keeping) -> None:
            then(keeping.error)

        def read(error: LogstoreError | None) -> None:
            hosts = () if error else self._facts.routing().vhosts
            if error is not None or any(it.name == DEFAULT_VHOST for it in hosts):
                then(error)
            else:  # several nodes may make it: it is the same
                self.change([KeptVhost(DEFAULT_HOST, DEFAULT_VHOST)]).then(made)

        self._follower.read_to_end(read)

    def routing(self) -> KeptRouting:
        """All valid facts of vhosts, exchanges, queues and bindings that were read."""
        return self._facts.routing()

    def access(self) -> KeptAccess:
        """The same of users and so on."""
        return self._facts.access()

    # Changes

    def change(self, keep: Sequence[Known] = (), forget: Sequence[Forgotten] = ()) -> Keeping:
        """As QueueKeeper.change, and UserKeeper's.

        Of more than may wait it is refused, before those that wait are told.
        """
        keeping = Keeping()
        try:
            if self._follower.failure is not None:
                raise self._follower.failure
            change = self._checked(keep, forget, keeping)
        except LogstoreError as error:
            self._soon(partial(keeping.finish, error))
            return keeping
        self._order[change.of_users].append(change)
        self._add(change)
        return keeping

    def _checked(
        self, keep: Sequence[Known], forget: Sequence[Forgotten], keeping: Keeping
    ) -> _Change:
        refused = next((it for it in keep if isinstance(it, Kept) and not takes(it)), None)
        if refused is not None:
            raise Refused("topics do not feed exchanges in front of a cluster: publish to them")
        size = sum(len(row_of(it)) for it in keep)
        gone = []
        for it in forget:
            if isinstance(it, Unreadable):
                row = self._facts.row(it.key)
                gone += [access_key(it.key)] if row is not None and is_bad(it.key, row) else []
            elif not isinstance(it, Kept) or takes(it):
                gone.append(key_of(it))
        size += sum(len(it) for it in gone)
        if size > BATCH_BYTES_MAX and keep:
            raise RecordTooLarge(
                f"{TOPIC}: a change of {size} bytes exceeds the maximum of {BATCH_BYTES_MAX} of"
                " the cluster: change less at once"
            )
        if self._size + size > WAITING_BYTES_MAX or len(self._waiting) >= WAITING_MAX:
            raise ClusterBehind(
                f"{TOPIC}: {len(self._waiting)} changes wait for the cluster, which is the maximum:"
                " try again"
            )
        return _Change(keep, gone, keeping, size)

    def _add(self, change: _Change, *, first: bool = False) -> None:
        if first:
            self._waiting.appendleft(change)
        else:
            self._waiting.append(change)
        self._size += change.size
        keep, forget = change.counted
        self._keeping.update(keep)
        self._forgetting.update(forget)
        self._soon(self._send)

    def _forget(self, keys: Sequence[bytes]) -> None:
        """Delete facts without a waiting caller: at most as many at once as others can read in a
        turn.
        """
        for at in range(0, len(keys), BATCH_RECORDS):
            some = keys[at : at + BATCH_RECORDS]
            self._add(_Change((), some, None, sum(map(len, some))))

    def _mapped(self, fact: Known) -> Known:
        """The fact with the numbers of valid facts instead of second ones."""
        if not self._instead or not isinstance(fact, Kept):
            return fact
        counts = self._counts
        match fact:
            case KeptVhost():
                return replace(fact, id=counts(fact.id))
            case KeptBinding():
                return replace(
                    fact, id=counts(fact.id), source=counts(fact.source),
                    destination=counts(fact.destination),
                )  # fmt: skip
        return replace(fact, id=counts(fact.id), vhost=counts(fact.vhost))

    def _counts(self, number: int) -> int:
        """The valid fact in its place."""
        while number in self._instead:
            number = self._instead[number]
        return number

    def _mapped_key(self, key: bytes) -> bytes:
        number = number_of(key)
        return key if number is None else with_number(key, self._counts(number))

    # Sending

    def _send(self) -> None:
        if self._sent is not None or not self._waiting or self._follower.failure is not None:
            return
        changes: list[_Change] = []
        rows: list[Row] = []
        put: set[bytes] = set()
        size = 0
        while self._waiting:
            change = self._waiting[0]
            its, later = self._rows(change, put)
            its_size = sum(len(key) + len(value or b"") for key, value in its)
            if changes and (
                len(rows) + len(its) > BATCH_RECORDS or size + its_size > BATCH_BYTES_MAX
            ):
                break
            self._waiting.popleft()
            _take(self._keeping, change.counted[0])
            changes.append(change)
            put.update(key for key, value in its if value is not None)
            rows += its
            size += its_size
            if later:
                self._forget(later)
        if not rows:  # all of it was forgotten before
            self._read_back(changes, ())
            return
        self._batches += 1
        by = self._token + self._batches.to_bytes(8, "big")
        now_ms = self._now_ms()
        records = [
            (value, key, ((BY, by),) if not number else (), now_ms)
            for number, (key, value) in enumerate(rows)
        ]
        try:
            mark = self._log.append(encode(records))
        except LogstoreError as error:
            for change in changes:
                change.error = change.error or error
            self._ended(changes)
            return
        self._sent = _Sent(changes, by, mark + len(rows) - 1)

    def _rows(self, change: _Change, put: Container[bytes]) -> tuple[list[Row], Sequence[bytes]]:
        """What is to be appended now; and keys of what counts no more then, to be forgotten later.

        ``put``: what changes before it make in the same batch.
        What is forgotten takes with it what is second of its name, and what refers to it.
        """
        if change.error is not None or not self._renumbered(change):
            return [], ()
        if change.keeping is not None:  # else it is what was second that is to go
            change.forget = [self._mapped_key(it) for it in change.forget]
        gone: dict[bytes, None] = {}
        for key in change.forget:
            # A name may be made by another node meanwhile: what is appended last decides.
            if number_of(key) is None or key in put or self._facts.has(key):
                gone[key] = None
                if self._facts.counting(key) is not None:
                    gone.update(dict.fromkeys(self._facts.namesakes(key)))
        later: list[bytes] = []
        if len(gone) > BATCH_RECORDS:
            referring = set(self._facts.referring(gone))
            later = [it for it in gone if it in referring]
            gone = dict.fromkeys(it for it in gone if it not in referring)
        rows: list[Row] = [(key, None) for key in gone]
        for fact in change.keep:
            key = key_of(fact)
            if not self._facts.has(key):
                change.new.add(key)
            rows.append((key, headed(row_of(fact), self._facts.first(key))))
        return rows, later

    def _renumbered(self, change: _Change) -> bool:
        """The fact with valid numbers; and whether it can be sent.

        A fact that another node has deleted meanwhile is not changed any more; a policy is created
        again.
        """
        change.keep = [self._mapped(it) for it in change.keep]
        for number, fact in enumerate(change.keep):
            if isinstance(fact, Kept) and self._facts.is_forgotten(key_of(fact)):
                if not isinstance(fact, KeptPolicy):
                    change.error = _gone(fact)
                    return False
                change.keep[number] = self._anew(fact)
        return True

    def _anew(self, policy: KeptPolicy) -> KeptPolicy:
        self._instead[policy.id] = number = self._numbers.next()
        return replace(policy, id=number)

    # What comes of it

    def _told(self, changes: Changes) -> None:
        """A batch was applied, of this node or another one."""
        sent = self._sent
        own = sent is not None and changes.by == sent.by
        self._show(changes.routing)
        access = changes.access
        if own and sent is not None:
            mine = {key_of(it) for change in sent.changes for it in change.keep}
            mine.update(key for change in sent.changes for key in change.forget)
            access = AccessNews(
                [it for it in access.keep if key_of(it) not in mine],
                [it for it in access.forget if key_of(it) not in mine],
                access.damage,
            )
        if access.keep or access.forget or access.damage:
            self._access(access)
        self._forget(changes.strays)
        if own and sent is not None:
            self._sent = None
            self._read_back(sent.changes, changes.strays)

    def _show(self, news: KeptNews) -> None:
        """Show changes, except those of facts that this node is about to change, which it already
        shows.
        """
        if self._instead and news.gone:
            gone = {it.id for it in news.gone}
            self._instead = {
                second: first for second, first in self._instead.items() if first not in gone
            }

        def is_due(fact: Kept) -> bool:
            key = key_of(fact)
            replaced = isinstance(fact, KeptPolicy) and self._keeping[key] > 0
            return not (replaced or self._forgetting[key] > 0)

        news = KeptNews(
            list(filter(is_due, news.came)), list(filter(is_due, news.changed)), news.gone
        )
        if any(news):
            self._routing(news)

    def _looked(self) -> None:
        """The batch was acknowledged; its records may have been compacted before they were read."""
        failure = self._follower.failure
        sent = self._sent
        if failure is not None:
            self._fail(failure)
        elif sent is not None and self._log.done > sent.last:
            offset = self._log.offset_of(sent.last)
            if offset == NOT_KNOWN:
                if self._asked is not sent:
                    self._asked = sent
                    self._follower.read_to_end(partial(self._read_to_end, sent))
            elif offset < self._follower.at:
                self._is_read(sent)

    def _read_to_end(self, sent: _Sent, error: LogstoreError | None) -> None:
        if error is None:
            self._is_read(sent)
        elif self._asked is sent:  # where it ends is not known: ask again
            self._asked = None
            self._soon(self._looked)

    def _is_read(self, sent: _Sent) -> None:
        if self._sent is sent and self._follower.failure is None:
            self._sent = None
            self._read_back(sent.changes, ())

    def _read_back(self, changes: list[_Change], strays: Sequence[bytes]) -> None:
        left: dict[bytes, None] = {}
        again: list[_Change] = []
        for change in changes:
            retry, drop = self._judge(change, strays)
            left.update(dict.fromkeys(drop))
            left.update(dict.fromkeys(self._facts.referring(change.forget)))
            if retry:
                again.append(self._again(change, retry))
        self._ended([it for it in changes if it not in again])
        self._forget([it for it in left if self._facts.has(it)])
        for change in reversed(again):
            self._add(change, first=True)

    def _again(self, change: _Change, keep: Sequence[Known]) -> _Change:
        self._size -= change.size
        _take(self._forgetting, change.counted[1])
        change.keep, change.forget = list(keep), ()
        change.counted = [key_of(it) for it in keep], []
        change.tries += 1
        return change

    def _judge(
        self, change: _Change, strays: Sequence[bytes]
    ) -> tuple[Sequence[Known], Sequence[bytes]]:
        """The rows to send again with other numbers, and the keys to delete."""
        again: list[Known] = []
        drop: list[bytes] = []
        loose: list[Kept] = []
        for fact in change.keep:
            if not isinstance(fact, Kept):
                continue
            key = key_of(fact)
            if key in strays:
                if isinstance(fact, KeptPolicy):
                    again.append(self._anew(fact))
                else:
                    change.error = _gone(fact)
                continue
            if self._facts.counting(key) is not None or not self._facts.has(key):
                continue
            first = self._before(key)
            if first is None:
                loose.append(fact)
                continue
            drop.append(key)
            if isinstance(fact, KeptPolicy):
                again.append(replace(fact, id=first.id))
            elif not _alike(fact, first):
                change.error = Refused(
                    f"{named(fact)} was declared by another node at the same moment: try again"
                )
                continue
            self._instead[fact.id] = first.id
        for fact in loose:
            mapped = self._mapped(fact)
            if mapped == fact or change.tries >= TRIES_MAX:
                change.error = change.error or _gone(fact)
            again.append(mapped)
        if change.error is not None:
            return (), [*drop, *(it for it in change.new if not self._is_anybodys(it))]
        return again, drop

    def _is_anybodys(self, key: bytes) -> bool:
        """Whether it is valid, and others may have created the same."""
        number = number_of(key)
        worked_out = number is not None and (number >= WITHIN or number == DEFAULT_HOST)
        return worked_out and self._facts.counting(key) is not None

    def _before(self, key: bytes) -> Kept | None:
        """The valid fact in place of this one, which was created earlier."""
        for other in self._facts.namesakes(key)[:1]:
            return self._facts.counting(other)
        return None

    def _ended(self, changes: Sequence[_Change]) -> None:
        for change in changes:
            change.done = True
            self._size -= change.size
            _take(self._forgetting, change.counted[1])
        for change in changes:
            if change.error is not None:
                self._show_again(change)
        for order in self._order.values():
            while order and order[0].done:
                first = order.popleft()
                if first.keeping is not None:
                    first.keeping.finish(first.error)
        self._soon(self._send)

    def _show_again(self, change: _Change) -> None:
        """Show the fact that it was to change as before."""
        keys = [*change.forget, *map(key_of, change.keep)]
        those = dict.fromkeys([*self._facts.referring(keys), *keys])
        there = [it for key in those if (it := self._facts.counting(key)) is not None]
        self._show(KeptNews(sorted(there, key=level_of)))

    def _fail(self, error: LogstoreError) -> None:
        changes = [*(self._sent.changes if self._sent else ()), *self._waiting]
        self._sent = None
        self._waiting.clear()
        for change in changes:
            change.error = change.error or error
        self._keeping.clear()
        self._ended(changes)

    def close(self) -> None:
        """Read and change nothing more, and report that to waiting callers."""
        self._follower.fail(Closed("this process is stopping"))


def _take(counts: Counter[bytes], keys: Iterable[bytes]) -> None:
    """Remove one of each. Of thousands that wait, no others are examined."""
    for key in keys:
        counts[key] -= 1
        if counts[key] <= 0:
            del counts[key]


def _gone(fact: Kept) -> Refused:
    return Refused(
        f"{named(fact)}, or what it belongs to, was just deleted by another node: try again"
    )


def _alike(fact: Kept, first: Kept) -> bool:
    """Whether the valid fact in its place is equal."""
    match fact, first:
        case KeptExchange(), KeptExchange():
            return _plain(replace(fact, id=0)) == _plain(replace(first, id=0))
        case KeptQueue(), KeptQueue():
            return _plain(replace(fact, id=0, ttls=())) == _plain(replace(first, id=0, ttls=()))
    return True  # a name is all that they are


def _plain(fact: KeptExchange | KeptQueue) -> tuple[bytes, Kept]:
    """The fact with arguments as bytes, because 1 is not equal to True there."""
    return fields.table(fact.arguments), replace(fact, arguments={})
