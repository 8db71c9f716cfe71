"""What the coordinator needs kept. Whatever keeps it answers in the coordinator's own thread."""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from logstore.broker.coordinator.calls import OffsetToCommit
from logstore.errors import CorruptStore, LogstoreError
from logstore.log import TopicPartition

Finished = Callable[[LogstoreError | None], None]  # None: it is durable
# The partitions refused are those whose topic is gone, or is another one by now.
Committed = Callable[[LogstoreError | None, Collection[TopicPartition]], None]


_T = TypeVar("_T")


def decoder_of(kind: type[_T]) -> Callable[[bytes], _T]:
    """What reads back what was kept as JSON of this kind. It raises CorruptStore."""
    decode = msgspec.json.Decoder(kind).decode

    def read_back(kept: bytes) -> _T:
        try:
            return decode(kept)
        except (msgspec.DecodeError, ValueError) as error:
            raise CorruptStore(f"what was kept of a consumer group is damaged: {error}") from None

    return read_back


class KeptOffset(Protocol):
    """One committed offset."""

    @property
    def offset(self) -> int: ...
    @property
    def commit_ms(self) -> int: ...
    @property
    def metadata(self) -> str: ...
    @property
    def leader_epoch(self) -> int:
        """-1 where none was given."""


class KeptGroup(Protocol):
    """One group, as it is kept."""

    @property
    def kind(self) -> str:
        """simple, classic, consumer or embedded."""

    @property
    def empty(self) -> bool: ...
    @property
    def epoch(self) -> int:
        """The last generation or epoch that was given out."""

    @property
    def state(self) -> bytes:
        """As it was saved."""

    @property
    def members(self) -> Mapping[str, bytes]: ...


class GroupChange(NamedTuple):
    """What changes of a group, in one step."""

    kind: str
    epoch: int
    empty: bool
    state: bytes
    members: Mapping[str, bytes | None] = {}  # None: gone
    replace: bool = False  # members that are not among these are gone


class Ledger(Protocol):
    """Where groups and offsets are kept.

    What is saved is durable in the order of the calls; ``finished`` is called once each, in that
    order, and not before the call has returned.
    """

    def load(self, group: str) -> KeptGroup | None: ...

    def groups(self) -> Mapping[str, str]:
        """The kind of every group."""

    def embedded(self, group: str) -> bool:
        """Whether consumers in the directory itself are its members now."""

    def save(self, group: str, change: GroupChange, finished: Finished) -> None:
        """GroupBusy where embedded members live: nothing is saved."""

    def fetch(
        self, group: str, places: Collection[TopicPartition] | None = None
    ) -> Mapping[TopicPartition, KeptOffset]:
        """All, or those of these places that there are. May be called from any thread."""

    def commit(
        self,
        group: str,
        offsets: Mapping[TopicPartition, OffsetToCommit],
        finished: Committed,
    ) -> None:
        """GroupBusy where embedded members live."""

    def delete_group(self, group: str, finished: Finished) -> None:
        """The group and its offsets. UnknownGroup; GroupBusy where embedded members live."""

    def delete_offsets(
        self, group: str, places: Collection[TopicPartition], finished: Finished
    ) -> None:
        """GroupBusy where embedded members live."""
