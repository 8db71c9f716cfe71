"""Transactional ids of Kafka producers: state, affected partitions; abort of open transactions."""

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from logstore.access import audit
from logstore.access.resources import DESCRIBE, TRANSACTIONAL_ID
from logstore.broker.ledger import producers_of
from logstore.errors import LogstoreError
from logstore.http.faults import NOT_FOUND, Fault
from logstore.log import Log
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.listing import Columns, Listed, flag, show
from logstore.slices import Steps

if TYPE_CHECKING:  # the model, which a server that has no such client does without
    from logstore.broker.transacting.coordinator import TransactionCoordinator
    from logstore.broker.transactions.operations import Part
    from logstore.broker.transactions.transactional_id import TransactionalId

SHOWN: Final = 60  # characters of an id in a message
PARTS_MAX: Final = 1000  # of one transaction that are shown

COLUMNS: "Final[Columns[TransactionalId]]" = Columns(
    name=lambda it: it.name,
    by={
        "id": lambda it: it.name,
        "state": lambda it: it.state,
        "producer_id": lambda it: it.pid,
        "epoch": lambda it: it.epoch,
        "began_ms": lambda it: it.began_ms,
        "since_ms": lambda it: it.since_ms,
        "timeout_ms": lambda it: it.timeout_ms,
    },
    default=lambda it: it.name,
)


def list_(door: HttpDoor, call: Call) -> None:
    """List the transactional ids that the caller may see; with ``open=true``, only open ones.

    Raises Fault.
    """
    model, only_open = door.transactions_of.opened, flag(call, "open")
    if model is None:
        call.answer(Listed((), 0, call.page()).paged(()))
        return
    show(
        door, call, model.table.open_ids() if only_open else model.table.ids(), COLUMNS,
        lambda it: _shown(model, it),
        lambda it: call.rights.may(DESCRIBE, TRANSACTIONAL_ID, it.name),
    )  # fmt: skip


def one(door: HttpDoor, call: Call) -> None:
    """Describe one id, with the partitions of its transaction. Raises Fault."""
    model, it = _found(door, call)
    door.slices.begin(_whole(door, model, it), partial(_answer, call))


def aborted(door: HttpDoor, call: Call) -> None:
    """Abort an open transaction and fence its producer, unless it cannot be described.

    Raises Fault.
    """
    model, it = _found(door, call)

    def looked_at(whole: "dict[str, Any] | LogstoreError") -> None:
        if isinstance(whole, LogstoreError):
            _answer(call, whole)
        else:
            model.abort(it.name, partial(done, whole))

    def done(whole: dict[str, Any], found: "TransactionalId | LogstoreError") -> None:
        if not isinstance(found, LogstoreError):
            door.audit.tell(audit.TRANSACTION, call.who, f"aborted: {it.name}")
        if call.over:
            return
        if isinstance(found, LogstoreError):
            call.fail(found)
        else:
            _answer(call, whole)

    door.slices.begin(_whole(door, model, it), looked_at)


def _answer(call: Call, whole: "dict[str, Any] | LogstoreError") -> None:
    if call.over:
        return
    if isinstance(whole, LogstoreError):
        call.fail(whole)
    else:
        call.answer(whole)


def _found(door: HttpDoor, call: Call) -> "tuple[TransactionCoordinator, TransactionalId]":
    """Raises Fault."""
    model, name = door.transactions_of.opened, call.word("id")
    it = None if model is None else model.table.get(name)
    if model is None or it is None:
        raise Fault(NOT_FOUND, f"no transactional id {name[:SHOWN]!r}")
    return model, it


def _shown(model: "TransactionCoordinator", it: "TransactionalId") -> dict[str, Any]:
    return {
        "id": it.name,
        "state": it.state.wire_name,
        "producer_id": str(it.pid),
        "epoch": it.epoch,
        "timeout_ms": it.timeout_ms,
        "began_ms": it.began_ms if it.is_open else None,
        "since_ms": it.since_ms,
        "partitions": model.partitions(it.pid),
    }


def _whole(door: HttpDoor, model: "TransactionCoordinator", it: "TransactionalId") -> Steps:
    parts = list(islice(model.parts(it.pid), PARTS_MAX))
    whole = _shown(model, it) | {"parts": [_part(door, it.pid, one, log) for one, log in parts]}
    yield len(parts)
    return whole | {"groups": (yield from model.staged.groups_of(it.pid))}


def _part(door: HttpDoor, pid: int, part: "Part", log: Log) -> dict[str, Any]:
    topic = door.topics.by_uuid(part.topic_id)
    known = producers_of(log)
    return {
        "topic": None if topic is None else topic.name,
        "partition": part.partition,
        "first_offset": str(part.first),
        "holds_back": known is not None and known.holder == (pid, part.first),
    }
