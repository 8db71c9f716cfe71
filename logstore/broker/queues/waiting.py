"""Lists and cancels delayed messages of an exchange. In the sessions' thread."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from logstore.amqp.fields import text
from logstore.broker.here import records_at
from logstore.broker.queues.waited import due_of_record
from logstore.broker.routing.delayed_exchange import DELAYED
from logstore.errors import LogstoreError, NotWaiting
from logstore.kept.schedules import Entry, of_exchange
from logstore.log import Log
from logstore.records.record import Record

if TYPE_CHECKING:
    from logstore.broker.queues.delayed import DelayedStation
    from logstore.broker.queues.received import Desk
    from logstore.broker.queues.vhost import Vhost

SHOWN_BYTES: Final = 4096  # of a body
PAGE: Final = 256  # entries of the index that are read at once


class WaitingMessage(NamedTuple):
    """One delayed message."""

    offset: int
    due_ms: int
    record: Record | None  # None: it can't be read; of a long body the beginning
    body_bytes: int


Listed = Callable[[Sequence[WaitingMessage] | LogstoreError], None]


def listed(
    station: "DelayedStation", after: tuple[int, int] | None, most: int, then: Listed
) -> None:
    """List the first ``most`` waiting messages, in the order of their due times.

    Messages that are being published now are left out. ``after``: due time and offset of the last
    one before.
    """
    _Listing(station, after, most, then).begin()


class _Listing:
    def __init__(
        self, station: "DelayedStation", after: tuple[int, int] | None, most: int, then: Listed
    ) -> None:
        self._station = station
        self._first = Entry(0, 0) if after is None else Entry(after[0], after[1] + 1)
        self._most = most
        self._then = then
        self._found: list[Entry] = []
        self._new: Sequence[Entry] = ()  # that the index did not have when its page was asked for

    def begin(self) -> None:
        self._station.when_known(self._page)

    def _page(self, error: LogstoreError | None = None) -> None:
        station = self._station
        if error is not None or station.schedule is None:
            self._then(error or [])
            return
        index, key, first = station.index, of_exchange(station.id), self._first
        self._new = station.schedule.new_from(first)

        def read() -> tuple[Sequence[Entry], bool] | LogstoreError:
            try:
                return index.page(key, first, PAGE)
            except LogstoreError as error:
                return error

        station.work(read, self._read)

    def _read(self, page: tuple[Sequence[Entry], bool] | LogstoreError) -> None:
        if isinstance(page, LogstoreError):
            self._then(page)
            return
        entries, more = page
        upto = entries[-1] if more else None
        both = {*entries, *(it for it in self._new if upto is None or it <= upto)}
        self._found += [it for it in sorted(both) if self._station.waits(it.offset)]
        if upto is not None and len(self._found) < self._most:
            self._first = Entry(upto.due_ms, upto.offset + 1)
            self._page()
            return
        found, log = self._found[: self._most], self._station.log
        if log is None or not found:
            self._then([])
            return

        def messages() -> Sequence[WaitingMessage] | LogstoreError:
            try:
                return [_read(log, it) for it in found]
            except LogstoreError as error:
                return error

        self._station.work(messages, self._then)


def _read(log: Log, entry: Entry) -> WaitingMessage:
    """Read one message. One by one, since all bodies together may exceed the memory."""
    record, size = records_at(log, [entry.offset]).get(entry.offset), 0
    if record is not None and record.value is not None:
        size = len(record.value)
        if size > SHOWN_BYTES:
            record = record._replace(value=record.value[:SHOWN_BYTES])
    return WaitingMessage(entry.offset, entry.due_ms, record, size)


def cancel(
    station: "DelayedStation", offset: int, then: Callable[[LogstoreError | None], object]
) -> None:
    """Cancel a waiting message; ``then`` is called once that is durable, or with the error."""
    none = NotWaiting(
        f"no message waits at offset {offset} of exchange {text(station.name)!r}: it was"
        " delivered, was cancelled, or never existed"
    )

    def known(error: LogstoreError | None = None) -> None:
        log = station.log
        if error is not None or log is None or not station.waits(offset):
            then(error or none)
            return

        def read() -> Record | LogstoreError | None:
            try:
                return records_at(log, [offset]).get(offset)
            except LogstoreError as error:
                return error

        station.work(read, found)

    def found(record: Record | LogstoreError | None) -> None:
        if isinstance(record, LogstoreError):
            then(record)
        elif record is None or not station.waits(offset):  # it may have gone on meanwhile
            then(none)
        else:
            station.cancel(Entry(due_of_record(record), offset), then)

    station.when_known(known)


# By the library


def station_of(vhost: "Vhost", exchange: bytes) -> "DelayedStation":
    """Return the station of the exchange where messages wait. Raises NoExchange, NotWaiting."""
    facts = vhost.topology.exchange(exchange)
    if facts.type_name != DELAYED:
        raise NotWaiting(
            f"exchange {text(exchange)!r} delays no messages: its type is {facts.type_name}, not "
            f"{DELAYED}"
        )
    return cast("DelayedStation", vhost.topology.station(exchange))


def scheduled(
    desk: "Desk", exchange: bytes, after: tuple[int, int] | None, most: int
) -> Sequence[WaitingMessage]:
    """As ``listed``, for a caller that may block. Raises NoExchange, NotWaiting, Failed."""
    found: list[Sequence[WaitingMessage] | LogstoreError] = []

    def told(those: Sequence[WaitingMessage] | LogstoreError) -> None:
        found.append(those)
        desk.poke()

    desk.do(lambda vhost: listed(station_of(vhost, exchange), after, most, told))
    desk.wait(lambda: found)
    if isinstance(found[0], LogstoreError):
        raise found[0]
    return found[0]


def cancelled(desk: "Desk", exchange: bytes, offset: int) -> None:
    """As ``cancel``, for a caller that may block. Raises NoExchange, NotWaiting, Failed."""
    found: list[LogstoreError | None] = []

    def told(error: LogstoreError | None) -> None:
        found.append(error)
        desk.poke()

    desk.do(lambda vhost: cancel(station_of(vhost, exchange), offset, told))
    desk.wait(lambda: found)
    if found[0] is not None:
        raise found[0]


def stations(desk: "Desk") -> list[tuple[bytes, int]]:
    """Return the exchanges where messages wait, and how many each has; opens them."""
    found: list[tuple[bytes, int]] = []

    def look(vhost: "Vhost") -> list["DelayedStation"]:
        names = [it.name for it in vhost.topology.exchanges() if it.type_name == DELAYED]
        return [station_of(vhost, it) for it in names]

    for station in desk.do(look):
        _until_known(desk, station)
        found.append((station.name, station.waiting))
    return found


def _until_known(desk: "Desk", station: "DelayedStation") -> None:
    """Wait until it is known what waits at the exchange, or that it can't be read."""
    known: list[LogstoreError | None] = []

    def told(error: LogstoreError | None) -> None:
        known.append(error)
        desk.poke()

    desk.do(lambda _: station.when_known(told))
    desk.wait(lambda: known)
