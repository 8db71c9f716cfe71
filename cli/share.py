"""Records of share groups to standard output: each is accepted once it has left this process."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, Self

from logstore.records.record import Record

if TYPE_CHECKING:
    from logstore.broker.committed import Isolation
    from logstore.broker.shared.share_consumer import ShareConsumer, ShareRecord

    from .options import Where
    from .output import Output
    from .printing import Lines
    from .stop import Stop

RECORDS_MAX = 500  # at once: all of them are to be printed before their time is up
POLL_S = 0.1  # how long a signal may go unheard while nothing comes


class Member(Protocol):
    """What is needed of a member of a share group."""

    @property
    def ended(self) -> bool:
        """Whether there are no more records."""

    def get(self, most: int, timeout_s: float) -> Sequence[Record]:
        """The next records, which this member holds for a while. Raises LogstoreError."""

    def accept(self, records: Sequence[Record]) -> None:
        """Accept the first of the held records; durable on return. Raises LogstoreError."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None:
        """Make records that were not accepted available again."""


class OwnMember:
    """In a store of this process."""

    def __init__(self, consumer: "ShareConsumer") -> None:
        self._consumer = consumer
        self._handed: list[ShareRecord] = []
        self.ended = False

    def get(self, most: int, timeout_s: float) -> Sequence[Record]:
        """As Member.get."""
        self._handed = self._consumer.get_many(most, timeout_s)
        self.ended = not self._handed
        return [Record._make(it[: len(Record._fields)]) for it in self._handed]

    def accept(self, records: Sequence[Record]) -> None:
        """As Member.accept."""
        self._consumer.accept(*self._handed[: len(records)])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()


def consume_shared(
    where: "Where",
    topics: Sequence[str],
    group: str,
    lines: "Lines",
    *,
    begins: str | None,
    isolation: "Isolation | None",
    records_max: int | None,
    follow: bool,
) -> None:
    """As ``logstore consume --share``. ``begins``, ``isolation``: the group's settings, or None."""
    from logstore.store import Store

    from .output import Output
    from .stop import Stop

    with Stop() as stop, where.reach("write") as site:
        output = Output(stop)
        member: Member
        if isinstance(site, Store):
            consumer = site.share_consumer(
                *topics, group=group, explicit=True, prefetch=1, auto_offset_reset=begins,
                isolation=isolation,
            )  # fmt: skip
            member = OwnMember(consumer)
        else:
            from .cluster.cluster import Cluster

            assert isinstance(site, Cluster)
            member = site.share_member(topics, group, begins, isolation, records_max)
        with member:
            _print(member, lines, output, stop, records_max, follow=follow)
        output.check()
        stop.check()


def _print(
    member: Member,
    lines: "Lines",
    output: "Output",
    stop: "Stop",
    records_max: int | None,
    *,
    follow: bool,
) -> None:
    """Print until the end, the maximum, a signal or the reader's end."""
    lines.begin(output)
    left = records_max
    while left != 0 and not stop.asked:
        records = member.get(RECORDS_MAX if left is None else min(left, RECORDS_MAX), POLL_S)
        if not records:
            if (not follow and member.ended) or output.abandoned():
                return
            continue
        printed = lines.write(records, output)
        member.accept(records[:printed])
        if printed < len(records):
            return
        if left is not None:
            left -= printed
