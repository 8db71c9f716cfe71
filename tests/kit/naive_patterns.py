"""Redis's pattern rules said as plainly as can be, for names that are not empty."""


def matches(pattern, name):
    """Match by trying every possibility."""
    if not name:
        return not pattern
    return _match(pattern, name)


def _match(pattern, name):
    if not pattern:
        return not name
    if pattern[0:1] == b"*":
        return any(_match(pattern[1:], name[count:]) for count in range(len(name) + 1))
    if pattern[0:1] == b"[":
        found, rest = _class(pattern[1:], name[:1])
        return bool(name) and found and _match(rest, name[1:])
    if pattern[0:1] == b"\\" and len(pattern) > 1:
        return name[:1] == pattern[1:2] and _match(pattern[2:], name[1:])
    if not name:
        return False
    if pattern[0:1] == b"?":
        return _match(pattern[1:], name[1:])
    return name[:1] == pattern[:1] and _match(pattern[1:], name[1:])


def _class(rest, byte):
    """(whether the byte is in the class, what follows the class)"""
    negated = rest[:1] == b"^"
    rest = rest[1:] if negated else rest
    found = False
    while rest and rest[:1] != b"]":
        if rest[:1] == b"\\" and len(rest) >= 2:
            found |= rest[1:2] == byte
            rest = rest[2:]
        elif len(rest) >= 3 and rest[1:2] == b"-":
            low, high = sorted((_signed(rest[:1]), _signed(rest[2:3])))
            found |= bool(byte) and low <= _signed(byte) <= high
            rest = rest[3:]
        else:
            found |= rest[:1] == byte
            rest = rest[1:]
    return found != negated, rest[1:]


def _signed(byte):
    return int.from_bytes(byte, "little", signed=True)
