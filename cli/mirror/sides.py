"""What a mirror needs of the side that is read and of the side that is written."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from logstore.errors import Damaged, Failed
from logstore.log import TopicPartition

from .piece import Piece

if TYPE_CHECKING:
    from ..site import Site


class Spoiled(Failed):
    """The target has records that are no copy, among those that are."""

    def __init__(self, message: str, topic: str) -> None:
        super().__init__(message)
        self.topic = topic


class Source(Protocol):
    """Partitions, each read from where it is added. Every method raises LogstoreError."""

    @property
    def site(self) -> "Site": ...
    @property
    def id(self) -> str:
        """Of the store or the cluster, whatever way it is reached."""

    def start(self, place: TopicPartition) -> int:
        """The first offset that is there still."""

    def add(self, place: TopicPartition, at: int) -> None: ...
    def read(self, timeout_s: float) -> list[Piece]:
        """What is there now; if nothing is, what comes within ``timeout_s``."""

    @property
    def ended(self) -> bool:
        """Whether the end of all was reached."""

    @property
    def damages(self) -> Mapping[TopicPartition, Damaged]:
        """Partitions that are read no further, and why."""


class Ready(NamedTuple):
    """A piece as the target will take it."""

    place: TopicPartition
    spans: Sequence[tuple[int, int]]  # its offsets in the source, as (first, count)
    payload: Sequence[object]  # only the target knows what

    @property
    def span(self) -> int:
        """Offsets that it will take in the target."""
        return sum(count for _, count in self.spans)


class Target(Protocol):
    """Where the copy is. Every method raises LogstoreError."""

    @property
    def site(self) -> "Site": ...
    @property
    def id(self) -> str: ...
    def accepts(self, topic: str, settings: Mapping[str, str]) -> None:
        """Raises Refused where no new topic can have these."""

    def ends(self, topic: str, partitions: int) -> list[int]:
        """The offset after the last, of each partition."""

    def start(self, place: TopicPartition) -> int:
        """The first offset that is there still."""

    def ready(self, piece: Piece) -> Ready:
        """Raises InvalidRecord, Damaged, which name the record by its offset in the source."""

    def write(self, pieces: Sequence[tuple[Ready, int]]) -> None:
        """Each at the offset given, the end of its partition; acknowledged when this returns.

        Raises Spoiled where one came to stand elsewhere.
        """

    def commit(self, group: str, offsets: Mapping[TopicPartition, tuple[int, str]]) -> None:
        """Offsets with metadata, while nobody is a member. Raises GroupBusy."""
