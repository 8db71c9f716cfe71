"""The results of the last run of upkeep, kept in the catalogue for other processes."""

from typing import Final

import msgspec

FAILURES_MAX: Final = 20  # that are kept in words: the others are likely to say the same


class Ran(msgspec.Struct, frozen=True, omit_defaults=True):
    """One run. Times are in ms since 1970."""

    began_ms: int
    ended_ms: int
    segments_dropped: int = 0  # by retention
    bytes_dropped: int = 0
    logs_compacted: int = 0
    records_removed: int = 0  # by compaction
    logs_recompressed: int = 0
    bytes_saved: int = 0  # by compaction and recompression
    groups_expired: int = 0
    failures: tuple[str, ...] = ()  # the first of them
    failed: int = 0  # how many there were

    @property
    def is_worth_telling(self) -> bool:
        """Whether it did anything, or failed."""
        return self != Ran(self.began_ms, self.ended_ms)


encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Ran).decode


def last(noted: bytes) -> Ran | None:
    """The last run; None: none yet, or noted by a newer logstore in another form."""
    try:
        return _decode(noted) if noted else None
    except (msgspec.DecodeError, RecursionError):
        return None
