"""The headers of one record: from their count to the record's end."""

from logstore.errors import CorruptBatch
from logstore.records.record import Headers
from logstore.records.varint import NULL, decoded, signed

# Keys are few and repeat; finding one is faster than decoding it. So many are kept, no more.
_NAMES_KEPT_MAX = 256


def decoded_headers(section: bytes, names: dict[bytes, str]) -> Headers:
    """All headers of ``section``; ``names`` caches their keys between calls.

    Raises CorruptBatch, or IndexError if ``section`` ends too early.
    """
    count, at = section[0], 1
    if count > 127:
        count, at = decoded(section, 0)
    # Each takes at least a byte for its key's length and one for its value's.
    if count & 1 or count > len(section):
        raise CorruptBatch(f"a record has {signed(count)} headers in {len(section)} bytes")
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(count >> 1):
        size = section[at]
        at += 1
        if size > 127:
            size, at = decoded(section, at - 1)
        if size & 1:
            raise CorruptBatch(f"a header's key has length {signed(size)}")
        name = section[at : (at := at + (size >> 1))]
        key = names.get(name)
        if key is None:
            # surrogateescape: a key that is not UTF-8 is a peer's mistake, but not damage
            key = name.decode("utf-8", "surrogateescape")
            if len(names) < _NAMES_KEPT_MAX:
                names[name] = key
        size = section[at]
        at += 1
        if size > 127:
            size, at = decoded(section, at - 1)
        if not size & 1:
            headers.append((key, section[at : (at := at + (size >> 1))]))
        elif size == NULL:
            headers.append((key, None))
        else:
            raise CorruptBatch(f"a header's value has length {signed(size)}")
    if at != len(section):
        raise CorruptBatch(f"a record's headers end at byte {at} of {len(section)}")
    return tuple(headers)
