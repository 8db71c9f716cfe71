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
        """The id of the store or the cluster, independent of the address."""

    def start(self, place: TopicPartition) -> int:
        """The first available offset."""

    def add(self, place: TopicPartition, at: int) -> None: ...
    def read(self, timeout_s: float) -> list[Piece]:
        """Available pieces; if there are none, those that arrive within ``timeout_s``."""

    @property
    def ended(self) -> bool:
        """Whether the end of every partition was reached."""

    @property
    def damages(self) -> Mapping[TopicPartition, Damaged]:
        """Partitions that are read no further, with the reasons."""


class Ready(NamedTuple):
    """A piece as the target will take it."""

    place: TopicPartition
    spans: Sequence[tuple[int, int]]  # its offsets in the source, as (first, count)
    payload: Sequence[object]  # only the target knows what

    @property
    def span(self) -> int:
        """The number of offsets that it occupies in the target."""
        return sum(count for _, count in self.spans)


class Target(Protocol):
    """Where the copy is. Every method raises LogstoreError."""

    @property
    def site(self) -> "Site": ...
    @property
    def id(self) -> str: ...
    def accepts(self, topic: str, settings: Mapping[str, str]) -> None:
        """Raise Refused if a new topic cannot have these settings."""

    def ends(self, topic: str, partitions: int) -> list[int]:
        """The offset after the last, of each partition."""

    def start(self, place: TopicPartition) -> int:
        """The first available offset."""

    def ready(self, piece: Piece) -> Ready:
        """Prepare a piece. Raises InvalidRecord, Damaged, which name the record's source offset."""

    def write(self, pieces: Sequence[tuple[Ready, int]]) -> None:
        """Write each piece at the given offset, its partition's end; acknowledged on return.

        Raises Spoiled if a piece was written elsewhere.
        """

    def commit(self, group: str, offsets: Mapping[TopicPartition, tuple[int, str]]) -> None:
        """Commit offsets with metadata, if the group has no members. Raises GroupBusy."""
