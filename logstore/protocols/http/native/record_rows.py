"""Records as JSON: a line of a search, and a complete record."""

from collections.abc import Sequence
from typing import Any, Final

from logstore.protocols.http.replies.contents import PREVIEW_BYTES, WHOLE_BYTES_MAX, preview
from logstore.records.record import Record

HEADERS_MAX: Final = 50  # of a record, in a line of a search
HEADERS_BYTES_MAX: Final = 4096
NAME_BYTES: Final = 256


def row(record: Record) -> dict[str, Any]:
    """The part of a record that lists show: at most some kilobytes."""
    return {
        **_place(record),
        "key": _part(record.key, PREVIEW_BYTES),
        "key_bytes": _size(record.key),
        "value_preview": _part(record.value, PREVIEW_BYTES),
        "value_bytes": _size(record.value),
        "truncated": (_size(record.value) or 0) > PREVIEW_BYTES,
        **_headers(record, HEADERS_MAX, HEADERS_BYTES_MAX, NAME_BYTES),
    }


def whole(record: Record) -> dict[str, Any]:
    """The whole record, except parts that are so large that they are downloaded."""
    return {
        **_place(record),
        "key": _part(record.key, WHOLE_BYTES_MAX),
        "key_bytes": _size(record.key),
        "value": _part(record.value, WHOLE_BYTES_MAX),
        "value_bytes": _size(record.value),
        "truncated": (_size(record.value) or 0) > WHOLE_BYTES_MAX,
        **_headers(record, len(record.headers), WHOLE_BYTES_MAX, WHOLE_BYTES_MAX),
    }


def _place(record: Record) -> dict[str, Any]:
    return {
        "partition": record.partition,
        "offset": str(record.offset),
        "time_ms": record.timestamp_ms,
    }


def _part(data: bytes | None, bytes_max: int) -> dict[str, str] | None:
    return None if data is None else preview(data, bytes_max)


def _size(data: bytes | None) -> int | None:
    return None if data is None else len(data)


def _headers(record: Record, most: int, bytes_max: int, name_bytes: int) -> dict[str, Any]:
    """The first headers, in order, and the number of all."""
    shown: list[Sequence[Any]] = []
    left = bytes_max
    for name, value in record.headers[:most]:
        shown_name = name[:name_bytes]
        left -= len(shown_name)
        if left <= 0:
            break
        shown.append((shown_name, _part(value, left)))
        left -= min(len(value or b""), left)
    return {"headers": shown, "headers_total": len(record.headers)}
