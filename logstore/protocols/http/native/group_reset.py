"""Moves a group to other offsets: what would change, and the change, reported in the same form."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Final, Literal

import msgspec

from logstore.access import audit
from logstore.access.resources import READ
from logstore.broker.coordinator.calls import OffsetCommit
from logstore.broker.coordinator.coordinator import Results
from logstore.broker.group import Move, chosen, moves
from logstore.broker.start import Start, check_offset
from logstore.errors import GroupBusy, Refused
from logstore.http.faults import BAD_REQUEST, Fault
from logstore.kept.groups import SHARED, KeptOffset, OffsetToCommit
from logstore.log import Log, TopicPartition
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.elsewhere import elsewhere
from logstore.protocols.http.native.bounds import NUMBERS_MAX, Names, Numbers
from logstore.protocols.http.native.group_errors import error_of
from logstore.protocols.http.native.groups import committed, description
from logstore.protocols.http.native.objects import offset_given, require_topic, topic_of
from logstore.protocols.http.native.partitions import moment

PLACES_MAX: Final = 5000  # partitions that are moved in one step: some ms of everyone's time
TOPICS_TOLD: Final = 20  # in the audit log, by name
_UNNAMED: Final = "all topics that the group has committed in: name those that are to be moved"

Logs = Mapping[str, Mapping[int, Log]]


class GroupPlace(msgspec.Struct, forbid_unknown_fields=True):
    topic: str
    partition: int
    offset: str | int


class GroupReset(msgspec.Struct, forbid_unknown_fields=True):
    """Where to move: ``value`` is an offset, a time in ms, or a number of records, back if
    negative.

    With "offsets", each named partition moves to its own offset.
    """

    to: Literal["earliest", "latest", "offset", "time_ms", "shift", "offsets"]
    value: str | int | None = None
    topics: Names | None = None  # None: those in which it has committed
    partitions: Numbers | None = None  # of each topic; None: all
    offsets: Annotated[list[GroupPlace], msgspec.Meta(max_length=NUMBERS_MAX)] | None = None
    dry_run: bool = False


def reset(door: HttpDoor, call: Call) -> None:
    """Move the group completely or not at all; durable when answered.

    Raises UnknownGroup, UnknownTopic, UnknownPartition, OffsetOutOfRange; GroupBusy if the group is
    in use; Forbidden.
    """
    name, asked = call.word("name"), call.json(GroupReset)
    _check(asked)
    found = description(door, name)
    if found.kind == SHARED:
        raise GroupBusy(f"group {name!r} is a share group, which has no offsets to be moved")
    if found.members and found.kind != "embedded":  # of these whoever moves it finds out
        raise error_of(None, name)
    job = partial(_moves, door, call, name, asked)
    elsewhere(door, call, job, partial(_move, door, call, name, dry_run=asked.dry_run))


def _check(asked: GroupReset) -> None:
    """Raises Fault for contradictory or missing fields."""
    takes_value = asked.to in ("offset", "time_ms", "shift")
    if takes_value != (asked.value is not None):
        needs = "takes a value" if takes_value else "takes no value"
        raise Fault(BAD_REQUEST, f"to {asked.to!r} {needs}")
    if (asked.to == "offsets") != (asked.offsets is not None):
        raise Fault(
            BAD_REQUEST, "`offsets` can be used only with to='offsets', which accepts nothing else"
        )
    if asked.offsets is not None and (asked.topics is not None or asked.partitions is not None):
        raise Fault(BAD_REQUEST, "offsets name their topics and partitions themselves")


# What moves


def _moves(door: HttpDoor, call: Call, name: str, asked: GroupReset) -> list[Move]:
    before = committed(door, name)
    if asked.offsets is not None:
        return _each(door, call, before, asked.offsets)
    wanted = sorted({topic for topic, _ in before}) if asked.topics is None else asked.topics
    unnamed = _UNNAMED if asked.topics is None else ""
    logs = _logs(door, call, dict.fromkeys(wanted), asked.partitions, unnamed)
    if asked.to == "shift":
        return _shifted(before, logs, _shift(asked.value))
    return moves(before, logs, _start(asked))


def _logs(
    door: HttpDoor,
    call: Call,
    topics: Mapping[str, object],
    numbers: Sequence[int] | None,
    unnamed: str,
) -> Logs:
    """The logs of the partitions to move in, opened. Raises Refused if there are too many."""
    places, count = {}, 0
    _check_number(len(numbers or ()))
    for name in topics:
        require_topic(door, call, READ, name, unnamed)
        places[name] = chosen(name, len(topic_of(door, name).partitions), numbers)
        count += len(places[name])
        _check_number(count)
    return {
        name: {number: topic_of(door, name).partition(number) for number in them}
        for name, them in places.items()
    }


def _check_number(places: int) -> None:
    if places > PLACES_MAX:
        raise Refused(
            f"a group can be moved in at most {PLACES_MAX} partitions at once: name some of the"
            " topics"
        )


def _start(asked: GroupReset) -> Start:
    """Raises Fault."""
    if asked.to in ("earliest", "latest"):
        return "earliest" if asked.to == "earliest" else "latest"
    assert asked.value is not None
    if asked.to == "offset":
        return offset_given(asked.value)
    return moment(offset_given(asked.value, "time_ms"))


def _shift(value: str | int | None) -> int:
    """Raises Fault."""
    text = str(value)
    size = offset_given(text.removeprefix("-").removeprefix("+"), "shift")
    return -size if text.startswith("-") else size


def _shifted(before: Mapping[TopicPartition, KeptOffset], logs: Logs, by: int) -> list[Move]:
    """Shift no further than to an end; without a committed offset there is nothing to shift."""
    return [
        Move(topic, number, at.offset, min(max(at.offset + by, log.start), log.safe))
        for topic, them in logs.items()
        for number, log in them.items()
        if (at := before.get((topic, number))) is not None
    ]


def _each(
    door: HttpDoor,
    call: Call,
    before: Mapping[TopicPartition, KeptOffset],
    asked: Sequence[GroupPlace],
) -> list[Move]:
    _check_number(len(asked))
    found: dict[TopicPartition, Move] = {}
    for it in asked:
        place = it.topic, it.partition
        if place in found:
            raise Fault(BAD_REQUEST, f"{it.topic}-{it.partition} is named twice")
        require_topic(door, call, READ, it.topic)
        log = topic_of(door, it.topic).partition(it.partition)
        to, at = check_offset(log, offset_given(it.offset)), before.get(place)
        found[place] = Move(*place, None if at is None else at.offset, to)
    return list(found.values())


# Moving


def _move(door: HttpDoor, call: Call, name: str, found: Sequence[Move], *, dry_run: bool) -> None:
    about = {
        "name": name,
        "partitions": [
            {
                "topic": it.topic,
                "partition": it.partition,
                "from": None if it.before is None else str(it.before),
                "to": str(it.after),
            }
            for it in found
        ],
        "dry_run": dry_run,
    }
    if dry_run or not found:
        call.answer(about)
        return
    ids = {it.topic: topic_of(door, it.topic).id for it in found}
    offsets = {
        (it.topic, it.partition): OffsetToCommit(it.after, topic_id=ids[it.topic]) for it in found
    }

    def kept(results: Results) -> None:
        error = next((it for it in results.values() if it is not None), None)
        if error is not None:
            raise error_of(error, name)
        told = ", ".join(list(ids)[:TOPICS_TOLD])
        more = f" and {len(ids) - TOPICS_TOLD} more" if len(ids) > TOPICS_TOLD else ""
        door.lags.forget()
        door.audit.tell(audit.GROUP, call.who, f"moved {name} in {told}{more}")
        call.answer(about)

    now_ms = int(door.timer.now() * 1000)
    door.coordinator.commit(
        OffsetCommit(name, offsets), now_ms, lambda results: call.attempt(lambda: kept(results))
    )
