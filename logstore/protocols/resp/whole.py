"""Parses all complete requests of one read at once, by hiredis.

All other input is left to ``requests.py``, which is the authority on errors and bounds.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

import hiredis

# hiredis allocates as many elements as an array or a similar type claims: 99,999 are harmless, more
# are read one by one. (Two steps: a single byte is found faster.)
_CROWDS: Final = [
    (sign, re.compile(re.escape(sign) + rb"\d{6}")) for sign in (b"*", b">", b"~", b"%", b"|")
]
_NOT_YET: Final = object()  # what the reader gives where a request is not all there
_MARKED: Final = 7
_MARK: Final = b":%d\r\n" % _MARKED  # a reply that no request is


class WholeRequests:
    """The parser of one door, shared by all connections: it never keeps an incomplete request."""

    __slots__ = ("_reader",)

    def __init__(self) -> None:
        self._reader = _new_reader()

    def read(self, raw: bytes) -> tuple[list[Any], bool]:
        """The whole requests at the start of the bytes, and whether the bytes end with them."""
        for sign, claim in _CROWDS:
            if sign in raw and claim.search(raw):
                return [], False
        reader, requests = self._reader, list[Any]()
        reader.feed(raw)
        try:
            requests.extend(iter(reader.gets, _NOT_YET))
            reader.feed(_MARK)  # only read if no request is incomplete before it
            clean = reader.gets() == _MARKED
        except hiredis.ProtocolError:
            clean = False
        if not clean:
            self._reader = _new_reader()
        return requests, clean


def _new_reader() -> Any:  # noqa: ANN401  hiredis has no types for it
    return hiredis.Reader(notEnoughData=_NOT_YET)


def written(requests: Sequence[Sequence[bytes]]) -> int:
    """The size of these requests in bytes.

    If a client wrongly writes simple strings for bulk strings, the size is wrong; its next request
    is then not understood, and the connection ends.
    """
    heads = sum(len(b"*%d\r\n" % len(request)) for request in requests)
    sizes = Counter(map(len, chain.from_iterable(requests)))  # of 100,000 there are a few
    return heads + sum(count * (size + len(b"$%d\r\n\r\n" % size)) for size, count in sizes.items())
