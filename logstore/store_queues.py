"""The queues of a store without a server: opened at first use, closed with the store.

Only this process uses them, as only it writes the directory. If a server in this process has the
same store, the server's model is used: see ``lend``.
"""

import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from logstore.access.resources import object_name
from logstore.amqp.fields import text
from logstore.broker.channel import Channels
from logstore.broker.deduplication.deduplication import Deduplication
from logstore.broker.queues.journal import settlements_of
from logstore.broker.queues.served_turn import NotNow, ServedTurn
from logstore.errors import Closed, LogstoreError, ReadOnly, Refused
from logstore.kept.queues import DEFAULT_VHOST
from logstore.log import Log
from logstore.open_queues import OpenQueues, journal_there
from logstore.open_topics import OpenTopics
from logstore.slices import Slices, Steps
from logstore.storage.committer import Committer, GroupCommitter, QueueCommitter
from logstore.storage.directory import LocalDirectory

if TYPE_CHECKING:  # the model, which a server that has no queues does without
    from logstore.broker.policies import Policy
    from logstore.broker.queues.own_turn import OwnTurn
    from logstore.broker.queues.pending import Pending
    from logstore.broker.queues.queues import Queues
    from logstore.broker.queues.received import Hands, QueueConsumer
    from logstore.broker.queues.vhost import Vhost
    from logstore.store_shares import StoreShares

DEFAULT: Final = DEFAULT_VHOST.encode()

_T = TypeVar("_T")


class Served(Protocol):
    """The queues of a server in this process."""

    def prepare(self) -> None:
        """Whatever of ``open`` takes long. From any thread; raises what it raises."""

    def open(self) -> "Queues":
        """In the server's turn. Raises SchemaTooNew, CorruptStore, StorageFull, Closed."""


class StoreQueues:
    """The queues of one store. A ``Desk``; from any thread."""

    def __init__(
        self,
        directory: LocalDirectory,
        clock: Callable[[], int],
        did: Callable[[str, str], object],
        topics: OpenTopics,
        channels: Channels,
        deduplication: Deduplication,
    ) -> None:
        """``did``: is told what was removed: the kind of object, and what was done."""
        self._did = did
        self._hands: Hands | None = None
        self._topics, self._channels = topics, channels
        self._deduplication = deduplication
        self._directory = directory
        self._clock = clock
        self._lock = threading.Lock()  # who opens them
        self._turn: OwnTurn | ServedTurn | None = None  # an own one, or a server's
        self._queues: Queues | None = None  # the own ones; a server's once they were asked for
        self._served: Served | None = None
        self._committer: Committer | None = None
        self._logs: OpenQueues | None = None  # the own ones
        self._shares: StoreShares | None = None
        self._clipped = False  # what share groups have settled behind the ends of logs
        self._consumers: weakref.WeakSet[QueueConsumer] = weakref.WeakSet()
        self._within: dict[bytes, InVhost] = {}
        self._watchers: list[Callable[[], None]] = []
        self._error: LogstoreError | None = None

    def forked(self, error: LogstoreError) -> None:
        """As Forkable.forked."""
        self._lock = threading.Lock()
        self._error = error
        if self._turn is not None:
            self._turn.forked(error)

    # As Desk

    @property
    def home(self) -> "StoreQueues":
        """As Desk.home."""
        return self

    @property
    def hands(self) -> "Hands":
        """As Owner.hands."""
        with self._lock:
            if self._hands is None:
                from logstore.broker.queues.received import Hands

                self._hands = Hands()
            return self._hands

    def do(self, call: "Callable[[Vhost], _T]") -> _T:
        """As Desk.do."""
        return self.do_in(DEFAULT, call)

    def do_in(self, vhost: bytes, call: "Callable[[Vhost], _T]") -> _T:
        """The same with another virtual host. Raises NoVhost, too."""
        return self._opened().do(lambda: call(self._vhost(vhost)))

    def run(self, call: Callable[[], _T]) -> _T:
        """As Desk.run."""
        return self._opened().do(call)

    def at_once(self, call: Callable[[], _T]) -> _T:
        """The same in this thread, if that waits for nobody. Raises NotNow, too."""
        if self._error is not None:
            raise self._error
        turn = self._turn
        if turn is None or isinstance(turn, ServedTurn):
            raise NotNow
        return turn.at_once(call)

    def in_vhost(self, vhost: bytes, call: "Callable[[Vhost], _T]") -> Callable[[], _T]:
        """The call with a virtual host, for ``at_once`` and ``run``, which raise NoVhost then."""
        return lambda: call(self._vhost(vhost))

    def watch(self, told: Callable[[], None]) -> None:
        """Have it called, from any thread, when turns are to be ended, and none does by itself.

        That is by ``end_turn``.
        """
        self._watchers.append(told)

    def end_turn(self, *, wait: bool = False) -> float | None:
        """End one, where ``watch`` has told so; after how many seconds again, at the latest.

        ``wait`` for whoever is in the model. Raises NotNow without; Closed, Forked.
        """
        turn = self._turn
        if turn is None or isinstance(turn, ServedTurn):
            return None
        return turn.do(turn.due_s) if wait else turn.at_once(turn.due_s)

    def within(self, vhost: str) -> "InVhost":
        """The exchanges and queues of this virtual host; whether there is one, its use says."""
        name = vhost.encode(errors="surrogateescape")
        return self._within.setdefault(name, InVhost(self, name))

    # Virtual hosts

    def vhosts(self) -> list[bytes]:
        """Their names, in no order."""
        return self._opened().do(lambda: list(self._model().vhosts))

    def add_vhost(self, name: bytes) -> None:
        """As Queues.add_vhost; durable on return."""
        self.keep(lambda queues: queues.add_vhost(name))

    def delete_vhost(self, name: bytes) -> None:
        """As Queues.delete_vhost; durable on return."""
        self.keep(lambda queues: queues.delete_vhost(name))

    def set_policies(
        self, vhost: bytes, put: "Sequence[Policy]" = (), removed: Sequence[str] = ()
    ) -> None:
        """As Vhost.set_policies; durable on return, and in effect. Also raises NoVhost."""
        self.keep(lambda queues: queues.vhost(vhost).set_policies(put, removed))

    def long(self, work: "Callable[[Queues], Steps]") -> Any:  # noqa: ANN401
        """What takes long, done in slices; what it returns. Raises what it raises."""
        found: list[Any] = []

        def done(result: object) -> None:
            found.append(result)
            self.poke()

        turn = self._opened()

        def begin() -> None:
            queues = self._model()
            Slices(queues.soon).begin(work(queues), done)

        turn.do(begin)
        turn.wait(lambda: found)
        if isinstance(found[0], LogstoreError):
            raise found[0]
        return found[0]

    def with_model(self, call: "Callable[[Queues], _T]") -> _T:
        """Call it in a turn. Raises what it raises."""
        return self._opened().do(lambda: call(self._model()))

    def keep(self, change: "Callable[[Queues], Pending | None]") -> None:
        """Make it, and return when it is durable. Raises what it raises; StorageFull, Failed."""

        def work() -> "Pending | None":
            pending = change(self._model())
            if pending is not None:
                pending.then(lambda _: self.poke())
            return pending

        turn = self._opened()
        pending = turn.do(work)
        if pending is not None:
            turn.wait(lambda: pending.done)
            if pending.error is not None:
                raise pending.error

    def did(self, kind: str, what: str, name: str, vhost: bytes = DEFAULT) -> None:
        """As Owner.did."""
        self._did(kind, f"{what} {object_name(text(vhost), name)}")

    @property
    def syncs_journal(self) -> bool:
        """Whether ``sync_journal`` does."""
        return self._served is None

    def sync_journal(self) -> None:
        """Sync the journal in this thread, which waits for that anyway, unless a server has it."""
        queues = self._queues
        if queues is not None and self.syncs_journal:
            with suppress(LogstoreError):  # whoever has told it something is told
                queues.wait_for_journal()

    # As Desk

    def wait(self, ready: Callable[[], object], timeout_s: float | None = None) -> bool:
        """As Desk.wait."""
        return self._opened().wait(ready, timeout_s)

    def poke(self) -> None:
        """As Desk.poke."""
        turn = self._turn
        if turn is not None:
            turn.poke()

    def consumer(self, consumer: "QueueConsumer") -> "QueueConsumer":
        """As Owner.consumer."""
        self._consumers.add(consumer)
        return consumer

    # Opened and closed

    def _opened(self) -> "OwnTurn | ServedTurn":
        if self._error is not None:
            raise self._error
        with self._lock:
            if self._turn is None:
                self._open()
            turn, served = self._turn, self._served
        assert turn is not None
        if served is not None:
            served.prepare()  # in this thread, which may wait
        return turn

    def _vhost(self, name: bytes) -> "Vhost":
        """In a turn. Raises NoVhost."""
        return self._model().vhost(name)

    def _model(self) -> "Queues":
        """In a turn."""
        if self._queues is None:
            assert self._served is not None, "own ones are open before there are turns"
            self._queues = self._served.open()
        return self._queues

    def _open(self) -> None:
        """Raises ReadOnly, SchemaTooNew, CorruptStore, StorageFull."""
        from logstore.broker.queues.own_turn import OwnTurn
        from logstore.broker.queues.queues import Queues
        from logstore.broker.queues.station_home import Surroundings

        table = self._directory.groups
        try:
            directory = self._directory.writable()
        except ReadOnly as error:
            raise ReadOnly(
                f"{self._directory.path}: the store is open for reading, and only the process "
                f"that writes a store has its queues"
            ) from error
        assert table is not None, "a store that is written has a catalogue"
        turn = OwnTurn(self._clock, self._watchers)
        committer = Committer(table.environment, turn.soon, turn.soon)
        try:
            logs = OpenQueues(directory, QueueCommitter(committer, table.environment))
            if logs.has_journal:
                self._clip_shares(logs.journal())
            queues = Queues(
                logs, self._clock, turn.soon, turn.work, turn.alarmed,
                surroundings=Surroundings(
                    self._topics, self._channels, turn.work, self._deduplication,
                    GroupCommitter(committer, table), self._topics.tell,
                ),
            )  # fmt: skip
        except BaseException:
            committer.close()
            raise
        turn.begin(queues)
        turn.do(queues.keep_offsets)
        self._committer, self._queues, self._turn = committer, queues, turn
        self._logs = logs

    def shares(self) -> "StoreShares":
        """The share groups of the store, opened. Raises Refused where a server has them; ReadOnly,
        SchemaTooNew, CorruptStore, StorageFull.
        """
        turn = self._opened()
        if isinstance(turn, ServedTurn):
            raise Refused(
                f"{self._directory.path}: a server in this process has the share groups: consume "
                f"by a Kafka client"
            )
        return turn.do(lambda: self._own_shares(turn))

    def _own_shares(self, turn: "OwnTurn") -> "StoreShares":
        if self._shares is None:
            from logstore.store_shares import StoreShares

            assert self._logs is not None
            assert self._queues is not None
            assert self._committer is not None
            table = self._directory.groups
            assert table is not None, "a store that is written has a catalogue"
            self._shares = StoreShares(
                self, turn, self._queues, self._directory, self._topics, self._logs,
                GroupCommitter(self._committer, table), self._did,
            )  # fmt: skip
        return self._shares

    # What earlier processes have left

    def resume(self) -> None:
        """What they have committed comes to its topics and groups; returns when it is there.

        Where there is nothing of it nothing is opened but the journal.
        """
        if self._served is not None:
            return  # the server does it
        if self._turn is None and not self._left():
            return
        turn = self._opened()
        if not isinstance(turn, ServedTurn):
            turn.wait(lambda: not self._model().resuming)
            for log in turn.do(lambda: list(self._model().brought_again)):
                with suppress(LogstoreError):  # whoever uses it is told
                    log.wait(log.end)

    def _left(self) -> bool:
        """Whether there is any."""
        journal = journal_there(self._directory.writable())
        if journal is None:
            return False
        self._clip_shares(journal)
        notes = settlements_of(journal)
        return bool(notes.unfinished() or notes.committed())

    def _clip_shares(self, journal: Log) -> None:
        """Before anything is appended to topics, by whichever way."""
        if not self._clipped:
            from logstore.clipped_shares import clip_shares

            self._clipped = True
            clip_shares(journal, self._directory.writable(), self._topics)

    # Lent to a server

    def lend(self) -> None:
        """A server in this process is about to have them: consumers until then are closed."""
        with self._lock:
            turn, committer = self._turn, self._committer
            if committer is not None and self._error is None:
                assert turn is not None
                assert not isinstance(turn, ServedTurn)
                turn.do(self._end)
                self._close_shares()
                turn.close(Closed(f"{self._directory.path}: a server has the queues"),
                           committer.close)  # fmt: skip
            self._turn = self._queues = self._committer = self._logs = None

    def _close_shares(self) -> None:
        if self._shares is not None:
            self._shares.close()
            self._shares = None

    def serve(
        self, served: Served, soon: Callable[[Callable[[], object]], object]
    ) -> Callable[[], None]:
        """A server has them: calls go through its turn. What is returned ends that, in its thread.

        ``lend`` was called before.
        """
        with self._lock:
            turn = ServedTurn(soon)
            self._served, self._turn = served, turn

        def end() -> None:
            with self._lock:
                self._end()
                turn.end(Closed(f"{self._directory.path}: the server has stopped"))
                if self._turn is turn:
                    self._turn = self._queues = self._served = None

        return end

    # The end

    def close(self) -> None:
        """What was settled is kept; what is not is ready again. Raises LogFailed."""
        with self._lock:
            why = Closed(f"{self._directory.path}: the store is closed")
            turn, error = self._turn, self._error
            if turn is None or isinstance(turn, ServedTurn) or error is not None:
                self._error = error or why
                return
        try:
            turn.do(self._end)
            self._close_shares()
            assert self._committer is not None
            turn.close(why, self._committer.close)
        finally:
            self._error = why

    def _end(self) -> None:
        """Nobody has any of it any more."""
        if self._queues is None:  # a server's, and never asked for
            return
        if self._shares is not None:
            self._shares.end()
        for consumer in list(self._consumers):
            consumer.end()
        for group in self._hands.unacked.drain() if self._hands is not None else ():
            group.queue.release(group, failed=False)
        for vhost in self._queues.vhosts.values():
            for owner in (self, *self._within.values()):
                vhost.owner_gone(owner)


class InVhost:
    """An ``Owner``: the queues in one virtual host of a store."""

    def __init__(self, queues: StoreQueues, vhost: bytes) -> None:
        self._queues = queues
        self._vhost = vhost
        self.home = queues
        self.run, self.wait, self.poke = queues.run, queues.wait, queues.poke
        self.consumer = queues.consumer

    @property
    def hands(self) -> "Hands":
        """As Owner.hands."""
        return self._queues.hands

    def did(self, kind: str, what: str, name: str) -> None:
        """As Owner.did."""
        self._queues.did(kind, what, name, self._vhost)

    def do(self, call: "Callable[[Vhost], _T]") -> _T:
        """As Desk.do. Raises NoVhost, too."""
        return self._queues.do_in(self._vhost, call)
