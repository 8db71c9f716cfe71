"""Groups: list, describe with positions and members, delete."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from logstore.access import audit
from logstore.access.resources import DESCRIBE
from logstore.broker.coordinator.calls import Done, GroupDescription, MemberDescription
from logstore.broker.coordinator.refusal import Refusal
from logstore.broker.coordinator.undecided import Partition
from logstore.broker.group_lags import Behind, Stands
from logstore.broker.reading import fetched
from logstore.errors import LogstoreError, UnknownGroup
from logstore.figures.ring import STEP_S
from logstore.http.faults import UNAVAILABLE, Fault
from logstore.kept.groups import SHARED, KeptOffset
from logstore.log import TopicPartition
from logstore.protocols.house import forget_shares
from logstore.protocols.http import paging
from logstore.protocols.http.call import Call, Page
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.elsewhere import elsewhere
from logstore.protocols.http.listing import Columns, Listed, listed
from logstore.protocols.http.native.group_errors import error_of
from logstore.protocols.http.native.objects import groups_shown, may_topic, topic_of, topics_shown
from logstore.protocols.http.native.topics import once_readers_are_known, trial

MEMBERS_MAX: Final = 500  # of a group that are shown
AGES_MAX: Final = 100  # partitions of a page whose oldest unread record is looked at


# Listed


def shown(door: HttpDoor, call: Call) -> None:
    """List the groups that the caller may see."""

    def look() -> list[Behind]:
        known = door.lags.last.groups
        return [known[name] for name in groups_shown(call, known)]

    def found(rows: Sequence[Behind]) -> None:
        listed(door, call, rows, _columns(door), partial(_answer, door, call))

    once_readers_are_known(door, call, lambda: elsewhere(door, call, look, found))


def of_topic(door: HttpDoor, call: Call) -> None:
    """List the groups that have committed offsets in a topic. Raises UnknownTopic."""
    name = topic_of(door, call.word("name")).name

    def look() -> list[Behind]:
        known = door.lags.last.groups
        return [known[it] for it in groups_shown(call, door.lags.readers(name)) if it in known]

    def found(rows: Sequence[Behind]) -> None:
        listed(door, call, rows, _columns(door, name), partial(_answer, door, call, topic=name))

    once_readers_are_known(door, call, lambda: elsewhere(door, call, look, found))


def _columns(door: HttpDoor, topic: str | None = None) -> Columns[Behind]:
    def lag(it: Behind) -> int:
        found = it.lag if topic is None else it.topics.get(topic)
        return -1 if found is None else found

    return Columns(
        name=lambda it: it.name,
        by={
            "name": lambda it: it.name,
            "kind": lambda it: it.kind,
            "state": lambda it: it.state,
            "members": lambda it: it.members,
            "lag": lag,
            "lag_per_s": lambda it: _per_second(door, it.name) or 0.0,
            "topics": lambda it: len(it.topics),
        },
        default=lambda it: it.name,
    )


def _answer(door: HttpDoor, call: Call, found: Listed[Behind], topic: str | None = None) -> None:
    """Reply with present values of the page's rows, which an earlier look-up found and sorted."""

    def look() -> list[Behind]:
        rows = (door.lags.one(it.name) for it in found.rows)
        return [it for it in rows if it is not None]

    def answer(rows: Sequence[Behind]) -> None:
        call.answer(found.paged([_row(door, it, topic) for it in rows]))

    elsewhere(door, call, look, answer)


def _row(door: HttpDoor, it: Behind, topic: str | None) -> dict[str, Any]:
    lag = it.lag if topic is None else it.topics.get(topic)
    return {
        "name": it.name,
        "kind": it.kind,
        "state": it.state,
        "members": it.members,
        "topics": len(it.topics),
        "lag": None if lag is None else str(lag),
        "lag_per_s": _per_second(door, it.name),
        "error": it.error or None,
    }


# One


def described(door: HttpDoor, call: Call) -> None:
    """Describe a group, with its members and a page of its partitions. Raises UnknownGroup."""
    name, page = call.word("name"), call.page()
    found = description(door, name)
    shares = door.shares_of.opened if found.kind == SHARED else None
    if shares is None:
        look = partial(_look, door, call, found, page, pending=_pending(door, name))
        elsewhere(door, call, look, lambda about: call.answer(about | _watched(door, name)))
        return
    # Where there are share groups, it has been imported already.
    from logstore.protocols.http.native.shared import topics_begun, with_standings

    look = partial(_look, door, call, found, page, topics_begun(door.topics, shares, name))
    elsewhere(
        door, call, look,
        lambda about: call.answer(
            with_standings(door.topics, shares, about) | _watched(door, name)
        ),
    )  # fmt: skip


def description(door: HttpDoor, name: str) -> GroupDescription:
    """Raises UnknownGroup; Fault if the group cannot be read."""
    try:
        found = door.coordinator.describe(name) if name else None  # of which there is no row
    except Refusal as it:
        raise Fault(UNAVAILABLE, it.message) from None
    if found is None:
        raise UnknownGroup(f"no group {name[:100]!r}", name)
    return found


def committed(door: HttpDoor, name: str) -> Mapping[TopicPartition, KeptOffset]:
    """The group's committed offsets. From any thread. Raises Fault if they cannot be read."""
    try:
        return door.coordinator.fetch(name, 0)
    except Refusal as it:
        raise error_of(it.error, name, it.message) from None


def _pending(door: HttpDoor, name: str) -> frozenset[Partition]:
    """Pending offsets, for another thread; empty while they are unknown."""
    with suppress(Refusal):
        return frozenset(door.coordinator.unstable(name))
    return frozenset()


def _look(
    door: HttpDoor,
    call: Call,
    it: GroupDescription,
    page: Page,
    begun: frozenset[str] = frozenset(),
    pending: frozenset[Partition] = frozenset(),
) -> dict[str, Any]:
    """``begun``: topics in which a share group has begun, with or without members.

    ``pending``: partitions with offsets in open transactions.
    """
    offsets = committed(door, it.group)
    members = {member.id: door.lags.places(it, member) for member in it.members}
    readers = _readers(members)
    topics = sorted({topic for topic, _ in (*offsets, *readers)} | begun)
    stands = {
        topic: _stands(door, topic) for topic in topics if may_topic(door, call, DESCRIBE, topic)
    }
    places = [(topic, number) for topic, them in stands.items() for number in range(len(them))]
    rows = [
        _partition(door, place, offsets.get(place), stands[place[0]][place[1]], readers, aged)
        for place, aged in _aged(paging.part(places, page))
    ]
    for row in rows if pending else ():
        topic = door.topics.get(row["topic"])
        row["pending"] = topic is not None and (topic.uuid, row["partition"]) in pending
    if it.kind == SHARED:  # where it stands is no committed offset
        rows = [row | {"lag": None, "oldest_unread_ms": None} for row in rows]
    behind = door.lags.one(it.group)
    lag = None if behind is None else behind.lag
    return {
        "name": it.group,
        "kind": it.kind,
        "state": it.state,
        "lag": None if lag is None else str(lag),
        "protocol": it.protocol,
        "epoch": it.epoch,
        "members": [_member(each, members[each.id], stands) for each in it.members[:MEMBERS_MAX]],
        "members_total": len(it.members),
        "partitions": rows,
        "partitions_total": len(places),
        "page": page.number,
        "page_size": page.size,
        "pages": -(-len(places) // page.size),
    }


def _readers(
    members: Mapping[str, frozenset[TopicPartition]],
) -> dict[TopicPartition, list[str]]:
    """The members that read each partition: one, or several of a share group."""
    readers: dict[TopicPartition, list[str]] = {}
    for member, places in members.items():
        for place in places:
            readers.setdefault(place, []).append(member)
    return readers


def _watched(door: HttpDoor, name: str) -> dict[str, Any]:
    return {
        "lag_per_s": _per_second(door, name),
        "history": {"step_s": STEP_S, "lag": door.figures.history("group", name)["lag"]},
    }


def _per_second(door: HttpDoor, name: str) -> float | None:
    """The number of records a second by which it falls behind; negative if it catches up."""
    rates = door.figures.rates("group", name)
    end, committed = rates["end"], rates["committed"]
    return None if end is None or committed is None else end - committed


def _aged(places: Sequence[TopicPartition]) -> list[tuple[TopicPartition, bool]]:
    return [(place, nth < AGES_MAX) for nth, place in enumerate(places)]


def _stands(door: HttpDoor, topic: str) -> Sequence[Stands]:
    try:
        return door.topics.offsets(topic)
    except LogstoreError:  # deleted since; its offsets go with it
        return ()


def _member(
    it: MemberDescription, places: frozenset[TopicPartition], seen: Mapping[str, object]
) -> dict[str, Any]:
    """``seen``: the topics whose names may be shown."""
    topics: dict[str, list[int]] = {}
    for topic, number in sorted(places):
        if topic in seen:
            topics.setdefault(topic, []).append(number)
    return {
        "id": it.id,
        "client_id": it.client.id,
        "host": it.client.host,
        "instance_id": it.client.instance_id,
        "assignment": [{"topic": name, "partitions": them} for name, them in topics.items()],
    }


def _partition(
    door: HttpDoor,
    place: TopicPartition,
    it: KeptOffset | None,
    stands: Stands,
    readers: Mapping[TopicPartition, Sequence[str]],
    aged: bool,
) -> dict[str, Any]:
    topic, number = place
    them = readers.get(place, ())
    start, end = stands or (0, None)
    at = max(start, 0 if it is None else it.offset)
    lag = None if end is None else max(end - at, 0)
    return {
        "topic": topic,
        "partition": number,
        "committed": None if it is None else str(it.offset),
        "commit_ms": None if it is None else it.commit_ms,
        "metadata": None if it is None else it.metadata,
        "start": None if end is None else str(start),
        "end": None if end is None else str(end),
        "lag": None if lag is None else str(lag),
        "owner": them[0] if len(them) == 1 else None,
        "readers": len(them),
        "oldest_unread_ms": _time_at(door, place, at) if aged and lag else None,
        "pending": False,
    }


def _time_at(door: HttpDoor, place: TopicPartition, offset: int) -> int | None:
    """The approximate time of the record at this offset, by its batch; None if unreadable."""
    topic = door.topics.get(place[0])
    if topic is None:
        return None
    try:
        batches = fetched(topic.partition(place[1]), offset, 1)
    except LogstoreError:
        return None
    if not batches:
        return None
    first = batches[0]
    return first.max_timestamp_ms if first.is_log_append_time else first.base_timestamp_ms


# Deleted


def deleted(door: HttpDoor, call: Call) -> None:
    """Delete a group and its offsets; durable when answered. Raises UnknownGroup, GroupBusy."""
    name, dry_run = call.word("name"), trial(call)
    found = description(door, name)
    if found.members and found.kind != "embedded":  # of these whoever deletes it finds out
        raise error_of(None, name)

    def delete(offsets: Mapping[TopicPartition, KeptOffset]) -> None:
        about = {
            "name": name,
            "kind": found.kind,
            "offsets": len(offsets),
            "topics": topics_shown(door, call, sorted({topic for topic, _ in offsets})),
            "dry_run": dry_run,
        }
        if dry_run:
            call.answer(about)
        else:
            told = partial(_deleted, door, call, about)
            door.coordinator.delete(name, int(door.timer.now() * 1000), told)

    elsewhere(door, call, partial(committed, door, name), delete)


def _deleted(door: HttpDoor, call: Call, about: Mapping[str, Any], done: Done) -> None:
    if done.error is not None:
        call.fail(error_of(done.error, about["name"], done.message))
        return
    door.audit.tell(audit.GROUP, call.who, f"deleted {about['name']}")
    door.lags.forget()
    if about["kind"] != SHARED:
        call.answer(about)
        return

    def forgotten(error: LogstoreError | None) -> None:
        if error is None:
            call.answer(about)
        else:
            call.fail(error)

    forget_shares(door.shares_of, about["name"], forgotten)
