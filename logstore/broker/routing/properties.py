"""What exchanges may read of a message besides its routing keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol


class Properties(Protocol):
    """A message's properties. Decoded lazily, because few exchanges depend on them."""

    @property
    def headers(self) -> Mapping[bytes, Any]:
        """The headers, with values as ``comparable`` takes them."""

    @property
    def correlation_id(self) -> bytes | None: ...
    @property
    def message_id(self) -> bytes | None: ...
    @property
    def timestamp(self) -> int | None:
        """The timestamp in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class PlainProperties:
    """Properties that are already decoded."""

    headers: Mapping[bytes, Any] = field(default_factory=dict)
    correlation_id: bytes | None = None
    message_id: bytes | None = None
    timestamp: int | None = None


NO_PROPERTIES: Final = PlainProperties()
