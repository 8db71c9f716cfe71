"""One connection as commands see it: the client's own facts, its subscriptions, and its output.

Knows nothing of the reading of requests, which ``session.py`` does.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, TypeVar, cast

from logstore.access.identity import Identity
from logstore.access.quotas import Seat
from logstore.broker.history import History, Kept
from logstore.broker.keys.journal import Journal
from logstore.broker.listeners import Form
from logstore.broker.roster import Roster
from logstore.broker.unsafe import Unsafe
from logstore.errors import LogstoreError
from logstore.log import Log
from logstore.protocols.resp import replies
from logstore.protocols.resp.door import DEFAULT_USER, RespDoor
from logstore.protocols.resp.onlookers.invalidation import tell_changed
from logstore.protocols.resp.onlookers.party import Blocked, Tracking, Watch
from logstore.protocols.resp.permits import Asks, Permits
from logstore.protocols.resp.replies import FORMS, Version
from logstore.protocols.resp.wrong import Wrong
from logstore.protocols.session import Link
from logstore.slices import AT_ONCE, GoOn, Steps

# A subscriber with more unread bytes than this receives more of a history only when it reads.
BEHIND_BYTES: Final = 1 << 20
READ_ON_BYTES: Final = 256 << 10  # of a history at once
OUT_AT_ONCE: Final = 4096  # replies of a long command
QUEUED_AT_ONCE: Final = 2000  # of these; of more, what others publish may come between
QUEUED_BYTES_MAX: Final = 64 << 20  # of commands between MULTI and EXEC
MECHANISM: Final = "AUTH"  # a name and a password
NAME_SHOWN: Final = 249  # bytes of a channel's name in the server's log
LOGIN_S: Final = 10.0  # for a connection to log in
REPLY_ON, REPLY_OFF, REPLY_SKIP_NEXT, REPLY_SKIP = range(4)

Result = TypeVar("Result")
# Carries out a command and replies once. The arguments begin with the command's own name. A long
# command returns its steps, each of which runs with the channels' lock held.
Run = Callable[["RespClient", Sequence[bytes]], Steps | None]


# The changes of one database in one of its turns.
Turn = tuple[Journal, int]


class Unsaved(NamedTuple):
    """Replies that depend on changes that are not safe yet."""

    depends: "list[Turn]"
    begin: int  # position in the output
    end: int
    each: bool  # of several commands; otherwise one reply


class Away(NamedTuple):
    """What another node is asked to do for the client."""

    give_up: Callable[[], object]  # called when no one needs the result any more
    blocks: bool  # it may block without limit


class Queued(NamedTuple):
    """A command between MULTI and EXEC."""

    run: Run
    arguments: Sequence[bytes]
    publishes: bool
    command: Asks  # its rights are checked again


class RespClient:
    """One Redis connection; also a ``Subscriber``."""

    # There are thousands of clients: a dictionary of this many attributes takes 3 KiB.
    __slots__ = (
        "_remembered_bytes", "_rest_s", "_rested", "active_at", "away", "behind", "blocked",
        "changed",
        "changing", "closed", "created_at", "cut_off", "database", "depends", "door", "everyone",
        "following", "form", "in_transaction", "known", "last_command", "library", "link",
        "login_until", "lost", "name", "no_evict", "no_touch", "notices", "now", "number", "out",
        "permits", "queue", "queue_bytes", "queue_failed", "queue_keyed",
        "queue_publishes", "queued_under", "relayed", "replying", "rest_until", "seat", "soft_over",
        "soft_until", "subscribed", "tracking", "units", "unsafe", "unsaved", "version", "watch",
        "working",
    )  # fmt: skip

    def __init__(
        self, door: RespDoor, everyone: dict[int, "RespClient"], link: Link, now: float
    ) -> None:
        """``everyone``: all connected clients by number, maintained by the session."""
        self.door = door
        self.everyone = everyone
        self.link = link
        self.number = door.next_number()  # what CLIENT ID says
        self.created_at = self.active_at = now
        self.now = now
        self.name = b""
        self.library: dict[bytes, bytes] = {b"LIB-NAME": b"", b"LIB-VER": b""}
        self.database = 0
        self.permits = Permits(door.access, door.newcomer(link.peer_address[0]))
        self.seat = Seat(door.access.metering)
        self.known = True  # it has logged in, or need not
        self.login_until: float | None = None  # when it must have
        self.rest_until: float | None = None  # when it goes on: a failed login is held back
        self._rest_s = 0.0
        self._rested: GoOn | None = None
        self.changing = False  # users or rules, so that it is told how that went before it ends
        self.version: Version = 2
        self.form: Form = FORMS[2]
        self.last_command = "NULL"  # as CLIENT LIST shows one that has sent none
        self.no_evict = self.no_touch = False
        self.tracking: Tracking | None = None
        self.notices: list[bytes] = []  # sent once the command's reply is complete
        self.out: list[bytes] = []  # replies that the server has not fetched
        self.units = 0  # keys or elements that commands went through; its session counts them
        self.working = False  # a worker makes a reply; nothing more is carried out before that
        self.unsafe = Unsafe()  # published or stored data that must be safe before a reply
        # For keys: the pending changes that the command depends on; and the replies in ``out`` that
        # depend on changes, by position.
        self.depends: list[Turn] = []
        self.unsaved: list[Unsaved] = []
        self.lost: bytes | None = None  # the reply if the changes could not be written
        self.closed: str | None = None
        self.cut_off = False  # it read too slowly, or was killed
        self.subscribed = False
        self.replying = REPLY_ON
        self.queue: list[Queued] | None = None  # between MULTI and EXEC
        self.queued_under: tuple[int, Identity] | None = None  # version of the rules, and identity
        self.queue_bytes = 0
        self.queue_failed = False
        self.queue_publishes = self.queue_keyed = False  # a queued command does, or uses keys
        self.in_transaction = False  # between EXEC and its last reply
        self.watch: Watch | None = None  # the keys that its next transaction depends on
        self.blocked: Blocked | None = None  # it waits for something to be under a key
        self.away: Away | None = None
        self.relayed = False  # it acts for a client of another node
        self.behind: dict[History, int] = {}  # from which offset it reads the history itself
        self.following: dict[History, int] = {}  # after CHANNEL.READ ... FOLLOW; likewise
        self.soft_over = False  # more is unsent than the soft limit allows
        self.soft_until: float | None = None  # when that has lasted too long
        self.changed = False  # since ``held_bytes`` was asked, by a command
        self._remembered_bytes = 0
        self._look_who()

    @property
    def held_bytes(self) -> int:
        """Memory held by the client: subscriptions, its name and other data, queue, replies."""
        if self.changed:
            self.changed = False
            channels, tracking = self.door.channels, self.tracking
            says = (self.name, *self.library.values(), *(tracking.prefixes if tracking else ()))
            rosters = (channels.names, channels.patterns, channels.apart)
            self._remembered_bytes = sum(map(len, says)) + sum(
                roster.held_bytes(self) for roster in rosters
            )
            if self.watch is not None:
                self._remembered_bytes += self.watch.held_bytes
        replies = sum(map(len, self.out)) if self.out else 0
        return self._remembered_bytes + self.queue_bytes + replies

    @property
    def asked_already(self) -> bool:
        """Whether all queued commands were checked under the rules in force."""
        return self.permits.free or self.queued_under == self.under

    @property
    def under(self) -> tuple[int, Identity]:
        """The version of all rules, and the client's identity."""
        return self.door.access.version, self.permits.who

    # Telling it something

    def say(self, reply: bytes) -> None:
        """Append the reply to the current command."""
        if self.replying in (REPLY_ON, REPLY_SKIP_NEXT):
            self.out.append(reply)

    def fail(self, text: str | bytes) -> None:
        """Reply with an error of the code ERR."""
        self.refuse("ERR", text)

    def tell(self, error: LogstoreError) -> None:
        """Reply with the error that was raised."""
        if isinstance(error, Wrong):
            self.refuse(error.code, error.text)
        else:
            self.fail(str(error))

    def refuse(self, code: str, text: str | bytes) -> None:
        """Reply with an error of another code: ``EXECABORT``, ``WRONGPASS``, ..."""
        errors = self.door.counts.errors
        errors[code] = errors.get(code, 0) + 1
        self.say(
            replies.error(code.encode() + b" " + (text.encode() if isinstance(text, str) else text))
        )

    def in_slices(self, name: str, steps: Steps, *, whole: bool = False) -> None:
        """Run work that may be long; the client's next command waits for its end.

        ``whole``: the replies stand together, with nothing else between them.
        """
        gathered: list[bytes] | None = [] if whole else None
        inline = True

        def done(result: Any) -> None:  # noqa: ANN401
            with self.door.channels.lock:
                self.working = False
                if self.cut_off:
                    return
                begin = len(self.out)
                self.out += gathered or ()
                if isinstance(result, LogstoreError):
                    self.tell(result)
                self.look_around()
                self.carried_out(name)
                self.note_unsaved(begin if whole else max(len(self.out) - 1, 0))
                if self.unsafe:
                    self.unsafe.watch(self.link.wake)
            if not inline:
                self.link.wake()

        self.working = True
        at_once = QUEUED_AT_ONCE if whole else AT_ONCE
        self.door.slices.begin(self._careful(steps, gathered), done, at_once)
        inline = False

    def _careful(self, steps: Steps, gathered: list[bytes] | None) -> Steps:
        """Run each step with the channels' lock; run none once the connection is gone.

        Steps that the client does alone are an exception: they are done completely or not at all.
        """
        given: Any = None
        error: LogstoreError | None = None
        replying = self.replying
        while True:
            with self.door.channels.lock:
                if self.cut_off:
                    if not self.door.keys.has(self):
                        steps.close()
                        return
                    replying = REPLY_OFF
                else:
                    self.door.channels.catch_up(self)
                out, before = self.out, self.replying
                self.out, self.replying = (out if gathered is None else gathered), replying
                self.door.onlookers.tracked.acting = self
                try:
                    step = steps.send(given) if error is None else steps.throw(error)
                except StopIteration:
                    return
                finally:
                    self.out, self.changed = out, True
                    self.door.onlookers.tracked.acting = None
                    self.note_stirred()
                    self.door.channels.settle()
                    if self.replying == replying:  # otherwise the command itself has changed it
                        self.replying = before
                    else:
                        replying = self.replying
            if gathered is None and len(self.out) > OUT_AT_ONCE:
                self.link.wake()  # replies are sent meanwhile
            given = error = None
            try:
                given = yield step
            except LogstoreError as raised:
                error = raised

    # Changes that it has made or seen, and that are not safe yet

    def depend(self, journal: Journal, turn: int) -> None:
        """Make the current command depend on the changes of this turn."""
        self.unsafe.add(cast("Log", journal), turn)  # it has all methods of a log that are called
        self.depends.append((journal, turn))

    def note_stirred(self) -> None:
        """Make the command that was carried out wait for its changes."""
        keys = self.door.keys
        if keys.awake:
            for journal in keys.stirred():
                self.depend(journal, journal.turn)

    def note_unsaved(self, begin: int, *, each: bool = False) -> None:
        """The replies from ``begin`` on belong to the command; ``each``: to several commands."""
        if self.lost is not None:
            self._say_lost(begin, len(self.out), self.lost, each=each)
            self.lost, self.depends = None, []
        elif self.depends:
            self.unsaved.append(Unsaved(self.depends, begin, len(self.out), each))
            self.depends = []

    def lose(self, turn: Turn, text: bytes) -> None:
        """A turn's changes could not be written: replace the replies of its commands by an
        error.
        """
        error = replies.error(b"MISCONF " + text)
        journal = turn[0]
        every = [self.depends, *(entry.depends for entry in self.unsaved)]
        others = [it for those in every for it in those if it[0] is journal and it != turn]
        self.unsafe.lower(cast("Log", journal), max((it[1] for it in others), default=0))
        for depends, begin, end, each in self.unsaved:
            if turn in depends:
                self._say_lost(begin, end, error, each=each)
                self.link.wake()  # nothing else may wake it
        if turn in self.depends:  # by a command that is under way: it has its replies at its end
            self.lost = error

    def _say_lost(self, begin: int, end: int, error: bytes, *, each: bool) -> None:
        """Replace these replies by an error; later replies keep their places."""
        count = end - begin if each else min(end - begin, 1)  # 0: it wants no replies
        self.out[begin:end] = [error] * count + [b""] * (end - begin - count)
        errors = self.door.counts.errors
        errors["MISCONF"] = errors.get("MISCONF", 0) + count

    def look_around(self) -> None:
        """After a command: serve clients that waited for it, and notify others."""
        onlookers = self.door.onlookers
        if onlookers.waiting.ready and not self.door.keys.taken:
            onlookers.waiting.serve(self.door.keys)
        if onlookers.tracked.pending:
            tell_changed(onlookers.tracked, self)
            self.out += self.notices
            self.notices.clear()
        onlookers.tracked.acting = None

    def push(self, items: Sequence[bytes]) -> None:
        """Push a message, even if the client wants no replies."""
        self.out.append(replies.push(items, self.version))

    def carried_out(self, name: str) -> None:
        """Append notices after the reply of the named command."""
        if self.notices:
            self.out += self.notices
            self.notices.clear()
        if self.tracking is not None and self.queue is None and not name.startswith("client|"):
            self.tracking.caching = False  # CLIENT CACHING is for the next command

    def null(self) -> bytes:
        return replies.NULL[self.version]

    def deliver(self, chunk: bytes) -> None:
        """As Subscriber.deliver."""
        if self.cut_off:
            return
        if self.out:
            self.out.append(chunk)  # after all earlier replies
            return
        unsent = self.link.push(chunk)
        if unsent or self.soft_over:
            self.check_unsent(unsent)

    def deliver_kept(self, chunk: bytes, kept: Kept) -> None:
        """As Subscriber.deliver_kept."""
        if kept.history in self.behind:
            return
        if self.link.unsent > BEHIND_BYTES:
            self.behind[kept.history] = kept.first
        else:
            self.deliver(chunk)

    def read_on(self) -> None:
        """After everything is sent: read the next part of the histories that the client follows."""
        channels = self.door.channels
        for history, at in list(self.behind.items()):
            view = channels.view(self, history)
            past = None if view is None else history.read(at, READ_ON_BYTES, large=False)
            records = [it for it in past.records if it.offset < history.next] if past else []
            if past is not None and not past.records and past.end < history.next:
                self.behind[history] = past.end
                history.followers.add(self.link.wake)  # the rest is not here yet
                continue
            if view is None or not records:
                self._caught_up(history)  # or it is no longer subscribed
                continue
            self.behind[history] = records[-1].offset + 1
            self.out.append(view.chunk([record.value or b"" for record in records]))
        for history, at in list(self.following.items()):
            past = history.read(at, READ_ON_BYTES, large=False)
            for record in past.records:
                self.push([replies.bulk(b"channel.read"), replies.bulk(history.name),
                           *replies.entry(record)])  # fmt: skip
            self.following[history] = past.end

    def _caught_up(self, history: History) -> None:
        del self.behind[history]
        if history not in self.following:
            history.followers.discard(self.link.wake)

    def follow(self, history: History, at: int) -> None:
        """Notify the client of records in the history from this offset on."""
        self.following[history] = at
        history.followers.add(self.link.wake)
        self.link.wake()

    # Bounds

    def check_unsent(self, unsent: int) -> None:
        """Disconnect a client with too many unread bytes, or with many for too long."""
        limit = self.door.limits.pubsub
        if limit.hard and unsent > limit.hard:
            self.cut(f"{unsent} bytes that it has not read; client-output-buffer-limit")
        elif limit.soft and unsent > limit.soft:
            if not self.soft_over:
                self.soft_over = True
                self.link.wake()  # only then it is told what time it is
        else:
            self.soft_over, self.soft_until = False, None

    def look_at_the_clock(self, now: float) -> None:
        """Disconnect the client if its time is over."""
        self._look_rested(now)
        if not self.known and self.login_until is None:
            self.login_until = now + LOGIN_S
        if self.login_until is not None and now >= self.login_until:
            self.link.cut(f"it has not logged in within {LOGIN_S:g} s")
            return
        if not self.soft_over:
            return
        limit, unsent = self.door.limits.pubsub, self.link.unsent
        if unsent <= limit.soft:
            self.soft_over, self.soft_until = False, None
        elif self.soft_until is None:
            self.soft_until = now + limit.soft_s
        elif now >= self.soft_until:
            self.cut(
                f"{unsent} bytes that it has not read in {limit.soft_s} s; "
                f"client-output-buffer-limit"
            )

    def cut(self, reason: str) -> None:
        """Disconnect at once, even if data is pending."""
        self.cut_off = True
        self.door.counts.cut_off += 1
        self.closed = reason
        self.link.cut(reason)

    # Who it is

    @property
    def user(self) -> str:
        """The user's name; before a login, Redis's default user."""
        return self.permits.who.user or DEFAULT_USER

    def come_in(self, name: str) -> None:
        """Note that the client has logged in."""
        host = self.permits.who.host
        self.permits = Permits(self.door.access, Identity(name, host, MECHANISM, self.door.name))
        self._look_who()

    def go_out(self) -> None:
        """Return to the identity of a new connection."""
        self.seat.leave()
        self.permits = Permits(self.door.access, self.door.newcomer(self.permits.who.host))
        self._look_who()
        if not self.known and self.login_until is None:  # otherwise the remaining time stays
            self.login_until = self.now + LOGIN_S

    def _look_who(self) -> None:
        self.known = not self.door.access.required or self.permits.who.user != ""
        if self.known:
            self.login_until = None

    def look_anew(self) -> None:
        """Users or rules have changed: apply them, or disconnect the client."""
        was_open = self.known and self.permits.who.user == ""
        if not self.permits.who.user:
            self.permits = Permits(self.door.access, self.door.newcomer(self.permits.who.host))
        else:
            self.permits.look_anew()
        self._look_who()
        if not self.known and was_open and not self.changing:
            self.end("it has not logged in, although there are users now")
        elif not self.door.access.knows(self.permits.who) and self.known:
            self.end(f"user {self.user!r} was deleted")

    def listening(self) -> Steps:
        """Disconnect the client if it is subscribed to something no longer allowed; in steps."""
        channels, permits = self.door.channels, self.permits
        apart = channels.apart.names(self)
        names = [*channels.names.names(self), *apart, *(it.name for it in self.following)]
        asked = [(name, False) for name in names]
        asked += [(name, True) for name in channels.patterns.names(self)]
        for name, pattern in asked:
            if not permits.may_hear(name, pattern=pattern):
                self.end(f"user {self.user!r} may no longer listen to {name[:NAME_SHOWN]!r}")
                return
            yield 1

    def end(self, reason: str) -> None:
        """Disconnect at once, or after the reply if one is being made."""
        if self.changing:
            self.closed = reason
        elif not self.cut_off:
            self.cut_off = True
            self.link.cut(reason)

    def rest(self, seconds: float, go_on: GoOn) -> None:
        """Continue after this many seconds; ``look_at_the_clock`` notices the time."""
        self._rest_s, self._rested = seconds, go_on
        self.link.wake()  # what time it is, is not known here

    def no_rest(self) -> None:
        """Stop resting: the awaited event has come."""
        self.rest_until, self._rested = None, None

    def _look_rested(self, now: float) -> None:
        if self._rested is not None and self.rest_until is None:
            self.rest_until = now + self._rest_s
        elif self.rest_until is not None and now >= self.rest_until:
            go_on, self.rest_until, self._rested = self._rested, None, None
            assert go_on is not None
            go_on(None)

    # What it is

    def speak(self, version: Version) -> None:
        """Use this version of the protocol from now on."""
        if version != self.version:
            self.door.channels.reform(self)
            self.version, self.form = version, FORMS[version]

    def subscriptions(self, *rosters: Roster) -> int:
        return sum(roster.names_count(self) for roster in rosters)

    def leave(self) -> Steps:
        """End all subscriptions."""
        for _ in self.door.channels.leaving(self):
            yield 1
        self.subscribed = False
        for history in (*self.behind, *self.following):
            history.followers.discard(self.link.wake)
        self.behind.clear()
        self.following.clear()

    def forget_queue(self) -> None:
        self.queue, self.queue_bytes, self.queue_failed = None, 0, False
        self.queue_publishes = self.queue_keyed = False
        if self.watch is not None:
            self.door.onlookers.unwatch(self)

    def reset(self) -> Steps:
        """Return to the state of a new connection."""
        self.forget_queue()
        yield from self.leave()
        self.name = b""
        self.database = 0
        self.no_evict = self.no_touch = False
        self.tracking = None
        self.door.onlookers.forget(self)
        self.replying = REPLY_ON
        self.speak(2)
        self.go_out()
