"""Exports and imports definitions for both APIs; long work is done by a worker or in slices."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeVar

from logstore.access.audit import DEFINITIONS
from logstore.amqp.fields import text
from logstore.errors import LogstoreError, Refused
from logstore.http.bodies import JSON, encode
from logstore.http.faults import UNAVAILABLE, Fault
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor

if TYPE_CHECKING:  # few servers are ever asked for definitions
    from logstore.broker.queues.vhost import Vhost
    from logstore.definitions.exporting import Exported
    from logstore.definitions.planning import Plan
    from logstore.definitions.wanted import Wanted

_T = TypeVar("_T")

AT_ONCE: Final = 1  # definitions that are taken or given at a time: each may take 100 MB
PIECE_BYTES: Final = 65_536


def given(
    door: HttpDoor,
    call: Call,
    body: bytes,
    vhost: str | None,
    then: "Callable[[Plan], object]",
    *,
    dry_run: bool = False,
) -> None:
    """All of it, or nothing where it contradicts what there is; ``then`` is told what was done.

    ``vhost``: all of it is for this one. Raises Fault where others are at it.
    """
    from logstore.definitions.carrying import carry_out
    from logstore.definitions.planning import Planner
    from logstore.definitions.reading import read

    over = _begin(door)

    def apart(wanted: "Wanted | LogstoreError") -> None:
        if isinstance(wanted, LogstoreError) or call.over:
            over()
            if isinstance(wanted, LogstoreError):
                call.fail(wanted)
            return
        door.slices.begin(Planner(call.queues, door.access, wanted).steps(), planned)

    def planned(plan: "Plan | LogstoreError") -> None:
        if isinstance(plan, LogstoreError) or dry_run or call.over:
            over()
            if isinstance(plan, LogstoreError):
                call.fail(plan)
            else:
                call.attempt(lambda: then(plan))
            return
        steps = carry_out(plan, call.queues, door.access, call.who)
        door.slices.begin(steps, lambda found: carried(plan, found))

    def carried(plan: "Plan", found: "Plan | LogstoreError") -> None:
        over()
        if isinstance(found, LogstoreError):
            sentence = f"definitions: some of them were taken, and then: {found}; take them again"
            call.fail(_type_of(found)(sentence))
            return
        door.audit.tell(DEFINITIONS, call.who, f"taken: {plan.said()}")
        call.attempt(lambda: then(plan))

    door.work(lambda: _or_error(lambda: read(body, vhost)), apart)


def _type_of(error: LogstoreError) -> type[LogstoreError]:
    """A class that a sentence alone makes."""
    for kind in type(error).__mro__:
        if kind.__module__ == LogstoreError.__module__ and issubclass(kind, LogstoreError):
            try:
                kind("")
            except TypeError:
                continue
            return kind
    return Refused


def taken(
    door: HttpDoor,
    call: Call,
    vhost: "Vhost | None",
    shape: "Callable[[Exported], object]" = lambda it: it.definitions,
) -> None:
    """The answer is what there is. ``vhost``: in this one alone. Raises Fault, as ``given``."""
    from logstore.definitions.exporting import arranged, export, told

    over = _begin(door)

    def found(it: "Exported | LogstoreError") -> None:
        if isinstance(it, LogstoreError) or call.over:
            over()
            if isinstance(it, LogstoreError):
                call.fail(it)
            return
        name = None if vhost is None else text(vhost.name)
        door.audit.tell(DEFINITIONS, call.who, told(name))
        door.work(lambda: _or_error(lambda: encode(shape(arranged(it)))), encoded)

    def encoded(body: bytes | LogstoreError) -> None:
        over()
        if isinstance(body, LogstoreError):
            call.fail(body)
        elif not call.over:
            call.attempt(lambda: call.stream(JSON, _pieces(body)))

    door.slices.begin(export(call.queues, door.access, door.node.version, vhost), found)


def _pieces(body: bytes) -> Iterator[bytes]:
    for at in range(0, len(body), PIECE_BYTES):
        yield body[at : at + PIECE_BYTES]
    yield b"\n"


def _begin(door: HttpDoor) -> Callable[[], None]:
    """Call what is returned at the end. Raises Fault where others are at it."""
    if len(door.importing) >= AT_ONCE:
        raise Fault(UNAVAILABLE, "others take or give definitions just now: try again later")
    one = object()
    door.importing.add(one)
    return lambda: door.importing.discard(one)


def _or_error(job: Callable[[], _T]) -> _T | LogstoreError:
    try:
        return job()
    except LogstoreError as error:
        return error
