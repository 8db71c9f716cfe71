"""Decodes the stored JSON of groups."""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from logstore.errors import CorruptStore

_T = TypeVar("_T")


def decoder_of(kind: type[_T]) -> Callable[[bytes], _T]:
    """Return a decoder of stored JSON of this kind. The decoder raises CorruptStore."""
    decode = msgspec.json.Decoder(kind).decode

    def read_back(kept: bytes) -> _T:
        try:
            return decode(kept)
        except (ValueError, RecursionError) as error:
            raise CorruptStore(f"what was kept of a consumer group is damaged: {error}") from None

    return read_back
