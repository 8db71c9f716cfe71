"""Variable-length integers: 7 bits a byte, the lowest first; the high bit says that more follow."""

from typing import Final

from logstore.errors import CorruptStore

NUMBER_MAX: Final = 2**63 - 1  # offsets and totals are signed 64-bit numbers elsewhere
_BYTES_MAX = 9  # that a number takes

_SHORT = [bytes((n,)) for n in range(128)]


def packed(number: int) -> bytes:
    """Encode ``number``, from 0 to ``NUMBER_MAX``, in 1 to 9 bytes."""
    assert 0 <= number <= NUMBER_MAX, number
    if number < 128:
        return _SHORT[number]
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


class Packed:
    """Bytes that are read from start to end. All methods raise CorruptStore."""

    __slots__ = ("_at", "_data", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        """``what``: names the data in errors."""
        self._data = data
        self._what = what
        self._at = 0

    def __bool__(self) -> bool:
        """Whether any bytes are left."""
        return self._at < len(self._data)

    def byte(self) -> int:
        """Read one byte."""
        at = self._at
        if at >= len(self._data):
            raise self.damaged("is cut off")
        self._at = at + 1
        return self._data[at]

    def number(self) -> int:
        """Read a number that ``packed`` encoded, in its shortest form."""
        at, data = self._at, self._data
        if at < len(data) and data[at] < 0x80:  # nearly all of them
            self._at = at + 1
            return data[at]
        number = shift = 0
        for position in range(at, min(at + _BYTES_MAX, len(data))):
            byte = data[position]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                if not byte and shift:
                    raise self.damaged(
                        f"has a number that is not in its shortest form at byte {at}"
                    )
                self._at = position + 1
                return number
            shift += 7
        if len(data) - at < _BYTES_MAX:
            raise self.damaged("is cut off")
        raise self.damaged(f"has a number longer than {_BYTES_MAX} bytes at byte {at}")

    def rest(self) -> bytes:
        """Read all remaining bytes."""
        at, self._at = self._at, len(self._data)
        return self._data[at:]

    def bytes(self, size: int) -> bytes:
        """Read ``size`` bytes."""
        at = self._at
        if size > len(self._data) - at:
            raise self.damaged("is cut off")
        self._at = at + size
        return self._data[at : at + size]

    def damaged(self, how: str) -> CorruptStore:
        """Return the error to raise; ``how``: what is wrong with the data."""
        return CorruptStore(f"{self._what} {how}: restore the store from a backup")
