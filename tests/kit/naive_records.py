"""A second decoder of records, as plain as it can be, to compare the fast one with."""


class Refused(Exception):
    pass


def varint(data, at, bits):
    zigzag = 0
    for n in range(bits // 7 + 1):
        if at >= len(data):
            raise Refused
        zigzag |= (data[at] & 0x7F) << 7 * n
        at += 1
        if data[at - 1] < 0x80:
            if zigzag >= 2**bits:
                raise Refused
            return (zigzag // 2 if zigzag % 2 == 0 else -(zigzag + 1) // 2), at
    raise Refused


def nullable(data, at):
    size, at = varint(data, at, 32)
    if size == -1:
        return None, at
    if size < 0 or at + size > len(data):
        raise Refused
    return data[at : at + size], at + size


def naive_records(data, count, last_offset_delta):
    """(offset delta, timestamp delta, key, value, headers) of each record, or Refused."""
    records = []
    at = 0
    for _ in range(count):
        length, at = varint(data, at, 32)
        if length < 1 or at + length > len(data):
            raise Refused
        body, at = data[at : at + length], at + length
        time, p = varint(body, 1, 64)
        delta, p = varint(body, p, 32)
        if not (records[-1][0] if records else -1) < delta <= last_offset_delta:
            raise Refused
        key, p = nullable(body, p)
        value, p = nullable(body, p)
        header_count, p = varint(body, p, 32)
        if not 0 <= header_count <= len(body):
            raise Refused
        headers = []
        for _ in range(header_count):
            name, p = nullable(body, p)
            if name is None:
                raise Refused
            content, p = nullable(body, p)
            headers.append((name.decode("utf-8", "surrogateescape"), content))
        if p != len(body):
            raise Refused
        records.append((delta, time, key, value, tuple(headers)))
    if at != len(data):
        raise Refused
    return records
