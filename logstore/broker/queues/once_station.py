"""The station of an x-message-deduplication exchange: forwards each message once.

A message with an unknown id is forwarded by a held transaction that includes the id: the journal
has both or neither, so that a power cut can neither lose a message nor forward it twice. An id is
known from the moment its message is forwarded; a publisher that sends it again before the
transaction is safe waits for that. If no queue gets a message, or a queue refuses it, its id is not
remembered, so it may be sent again.
"""

from collections.abc import Sequence

from logstore.amqp import properties
from logstore.amqp.fields import text
from logstore.broker.deduplication.deduplication import EXCHANGES
from logstore.broker.deduplication.window import FOREVER, Window
from logstore.broker.policies import Policy
from logstore.broker.queues.deaths import own_deaths
from logstore.broker.queues.journal import seen_key
from logstore.broker.queues.message import Framed, Looked
from logstore.broker.queues.message_ids import id_in
from logstore.broker.queues.pending import Waiting
from logstore.broker.queues.repeats import NOT_OPEN, NOT_STORED
from logstore.broker.queues.seen import encode
from logstore.broker.queues.station import Intake, Parcel
from logstore.broker.queues.station_home import StationHome
from logstore.broker.queues.transaction import Record, Transaction
from logstore.broker.queues.waited import Waited
from logstore.broker.routing.once_exchange import TTL, governed, number_of, once_of
from logstore.broker.routing.refusals import NoExchange
from logstore.errors import LogstoreError, Refused


class _Passing:
    """The ids of a transaction. A ``Remembered``."""

    def __init__(
        self, station: "OnceStation", ids: Sequence[tuple[bytes, int]], now_ms: int
    ) -> None:
        """``ids``: each with its lifetime in ms; 0: no limit of time."""
        self.ids = ids
        self.waiting: list[Waiting] = []  # of repeats
        self._station = station
        self._now_ms = now_ms

    @property
    def lasts(self) -> bool:
        return self._station.lasts

    def record(self, now_ms: int) -> Record:
        """As Remembered.record."""
        station = self._station
        value = encode(self.ids, station.most, self._now_ms)
        return value, seen_key(station.number), (), now_ms

    def came(self, error: LogstoreError | None) -> None:
        """As Remembered.came."""
        self._station.passed(self, self._now_ms, error)
        for waiting in self.waiting:
            waiting.unparked(None, 0, error)


class OnceStation:
    """The ``Station`` of one exchange."""

    def __init__(self, home: StationHome) -> None:
        """Create the station. Raises NoCacheSize, InvalidArgument."""
        self.gone = False
        self.kept_out = 0  # messages
        self.lasts = home.facts.durable
        self._given = self._arguments = once_of(home.facts.arguments)
        self._policy: Policy | None = None
        self._number: int | None = None  # once it is gone
        self._name, self._text = home.facts.name, text(home.facts.name)
        self._home, self._vhost = home, home.vhost
        self._room = home.surroundings.deduplication.room
        self._window = self._room.enter(Window(self._given.most))
        self._govern(self._vhost.policies.of_exchange(self._name))
        self._going: set[bytes] = set()  # in this call: what comes round again is a repeat
        self._coming: dict[bytes, tuple[_Passing, Transaction | None]] = {}
        if self.lasts and home.vhost.is_kept(self._name):
            self._remember()

    def _remember(self) -> None:
        """Load the ids that the journal has from earlier processes."""
        now_ms = self._vhost.clock()
        ids = {it: at for it, at in self._vhost.host.seen(self.number) if now_ms < at}
        with self._window.lock:
            self._window.add_many(list(ids), list(ids.values()), now_ms)
        self._room.came(len(ids))

    def _govern(self, policy: Policy | None) -> None:
        """Apply this policy. Surplus ids are then forgotten as new ones come."""
        self._policy = policy
        self._arguments = governed(self._given, {} if policy is None else policy.definition)
        with self._window.lock:
            self._window.most = self.most

    def _ask_policy(self) -> None:
        try:
            policy = self._vhost.topology.policy(self._name)
        except NoExchange:  # deleted meanwhile
            return
        if policy is not self._policy:
            self._govern(policy)

    @property
    def most(self) -> int:
        """The largest number of remembered ids."""
        return self._arguments.most

    @property
    def number(self) -> int:
        """The exchange's number, which no other exchange ever has."""
        return self._home.number() if self._number is None else self._number

    @property
    def passes_on(self) -> bytes | None:
        """As ``station.passes_on``."""
        return self._name

    @property
    def ids(self) -> int:
        """The number of remembered ids."""
        return len(self._window)

    @property
    def forgotten(self) -> int:
        """The number of ids that were forgotten before their time was over."""
        return self._window.forgotten

    # As Station

    def take(self, parcel: Parcel, intake: Intake) -> None:
        """As Station.take."""
        self._ask_policy()
        fresh: dict[bytes, int] = {}
        ids: dict[int, bytes] = {}
        firsts: dict[int, int] = {}  # of repeats within the parcel
        going: list[int] = []
        for n, framed in enumerate(parcel.framed):
            it = id_in(framed.properties, self._arguments.header)
            if it is None or self._returns(framed):
                going.append(n)
            elif it in fresh:
                firsts[n] = fresh[it]
            elif it in self._going or self._is_known(it, intake):
                self._kept_out(n, intake)
            else:
                fresh[it] = n
                ids[n] = it
                going.append(n)
        if going:
            self._going |= fresh.keys()
            self._go_on(parcel, going, ids, intake)
            self._going -= fresh.keys()
        for n, first in firsts.items():
            if first in intake.unrouted:
                intake.unrouted.add(n)
            elif first in intake.rejected:
                intake.rejected.add(n)
            else:
                self._kept_out(n, intake)

    def _returns(self, framed: Framed) -> bool:
        """Whether the message has passed here before and died since: it returns, and is
        no repeat.
        """
        if not framed.deaths:
            return False
        queues = {text(queue) for queue, _ in own_deaths(framed.deaths)}
        entries = (properties.read(framed.properties).headers or {}).get("x-death")
        return type(entries) is list and any(
            type(it) is dict and it.get("queue") in queues and it.get("exchange") == self._text
            for it in entries
        )

    def _kept_out(self, n: int, intake: Intake) -> None:
        self.kept_out += 1
        self._home.surroundings.deduplication.keeps_out(EXCHANGES, 1)
        if intake.held is not None and self.lasts:
            intake.lasting.add(n)

    def _is_known(self, it: bytes, intake: Intake) -> bool:
        if (coming := self._coming.get(it)) is not None:
            passing, held = coming
            if intake.held is None:
                _wait(passing, intake.waiting)
            elif held is None or held.whole is not intake.held.whole:
                intake.held.ahead.append(lambda waiting: self._wait_for(it, passing, waiting))
            return True
        with self._window.lock:
            return self._window.knows(it, intake.now_ms)

    def _wait_for(self, it: bytes, passing: _Passing, waiting: Waiting) -> None:
        """Wait until the message with this id has passed, if it has not yet."""
        coming = self._coming.get(it)
        if coming is not None and coming[0] is passing:
            _wait(passing, waiting)
        elif not self._is_there(it):
            waiting.failed = waiting.failed or Refused(NOT_STORED)

    def _is_there(self, it: bytes) -> bool:
        with self._window.lock:
            return self._window.knows(it, self._vhost.clock())

    def _go_on(
        self, parcel: Parcel, going: Sequence[int], ids: dict[int, bytes], intake: Intake
    ) -> None:
        """Publish these messages by the present bindings. All bound queues take a
        message, or none.
        """
        keys, bodies, framed = parcel
        routes = {n: self._vhost.onward(self._name, keys[n], framed[n]) for n in going}
        if self._vhost.uncounted(routes.values()) is not None:
            intake.refuse(going, Refused(NOT_OPEN))  # publishers wait until it is
            return
        held, left = Transaction(intake.held), list(going)
        unrouted: set[int] = set()
        while left:
            run = [(routes[n], Waited(keys[n], bodies[n], framed[n])) for n in left]
            published = self._vhost.forward(run, held)
            unrouted = {left[n] for n in published.unrouted}
            refused = {left[n] for n in published.rejected}
            if not refused:
                break
            held.forget()
            intake.refuse(refused, published.error)
            left = [n for n in left if n not in refused]
        intake.unrouted |= unrouted
        stored = [n for n in left if n not in unrouted]
        if stored:
            self._pass([(n, ids[n]) for n in stored if n in ids], parcel, held, intake)
            if intake.held is not None and self.lasts:
                intake.lasting.update(stored)

    def _pass(
        self,
        stored: Sequence[tuple[int, bytes]],
        parcel: Parcel,
        held: Transaction,
        intake: Intake,
    ) -> None:
        known = [(it, self._known_ms(parcel.framed[n].properties)) for n, it in stored]
        if known:
            passing = _Passing(self, known, intake.now_ms)
            held.remember(passing)
            for it, _ in known:
                self._coming[it] = passing, intake.held
        if intake.held is not None:
            intake.held.join(held)
            return
        waiting = intake.waiting
        if (pending := self._vhost.being_kept(self._name)) is not None:
            waiting.pending(pending)
        waiting.park()
        self._vhost.commit(held, lambda error: waiting.unparked(None, 0, error))

    def _known_ms(self, properties: bytes) -> int:
        """Return how long the id of a message with these properties is remembered, in ms."""
        own = number_of(Looked(properties).headers.get(TTL)) if TTL in properties else None
        return own or self._arguments.known_ms or 0

    def passed(self, passing: _Passing, now_ms: int, error: LogstoreError | None) -> None:
        """Note that these messages are at their targets, with the ids journaled; or have failed."""
        for it, known_ms in passing.ids:
            coming = self._coming.get(it)
            if coming is not None and coming[0] is passing:
                del self._coming[it]
            if error is None:
                until_ms = min(now_ms + known_ms, FOREVER) if known_ms else FOREVER
                with self._window.lock:
                    self._window.add(it, until_ms, now_ms)
        if error is None:
            self._room.came(len(passing.ids))
        if self.gone and self.lasts:  # dropped while they were on their way
            self._vhost.host.forget_seen(self.number)

    def drop(self) -> None:
        """As Station.drop."""
        self.gone = True
        if self.lasts:
            self._number = self.number  # by its name it could be the next one's soon
            self._vhost.host.forget_seen(self._number)
        with self._window.lock:
            self._window.clear()


def _wait(passing: _Passing, waiting: Waiting) -> None:
    waiting.park()
    passing.waiting.append(waiting)
