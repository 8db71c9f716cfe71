r"""Regular expressions that users write: RabbitMQ's, on the names of exchanges and queues.

An expression is searched for in the name: it needs ``^`` and ``$`` to match the whole name. The
engine is RE2, whose time is linear in the name, so that no expression can stall it. RabbitMQ's
engine has more features; one of them is common in policies and supported here: look-ahead at the
beginning, as in ``^(?!amq\.)``, which excludes names. Other look-around, and back-references, are
refused.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple

from logstore.errors import Refused

REGEX_BYTES_MAX: Final = 4096  # those in use have some ten; compiling is 6 us a byte
PROGRAM_BYTES_MAX: Final = 1 << 20  # repetitions of repetitions are short to write
REMEMBERED_MAX: Final = 4096  # compiled ones
AHEAD_MAX: Final = 16  # look-aheads of one expression; those in use have one
# Classes of Unicode, as \pL: 25 us each to compile, and 25 ms where case does not count.
CLASSES_MAX, CASELESS_CLASSES_MAX = 100, 1

_SHOWN_CHARACTERS: Final = 60  # of one that is refused
_ANYTHING: Final = frozenset({b"", b".*", b"^.*$", b"^", b"^.*"})  # told without the engine
_CLASS: Final = re.compile(rb"\\[pP]")
_CASELESS: Final = re.compile(rb"\(\?[a-zA-Z]*i")
_AHEAD: Final = {b"(?!": False, b"(?=": True}
_ESCAPE, _OPEN, _CLOSE, _BRACKET, _UNBRACKET, _OR = b"\\()[]|"


class Expression(NamedTuple):
    """A compiled expression."""

    main: Any  # of re2, which has no types; None: anything matches
    # What has to match at the name's beginning, or must not.
    ahead: tuple[tuple[bool, Any], ...] = ()

    def found_in(self, name: bytes) -> bool:
        """Whether the name has it."""
        for wanted, inner in self.ahead:
            if (inner.match(name) is not None) is not wanted:
                return False
        return self.main is None or self.main.search(name) is not None


@lru_cache(REMEMBERED_MAX)
def expression(regex: bytes) -> Expression:
    """Raises Refused for one that is too long, or that can't be used."""
    if len(regex) > REGEX_BYTES_MAX:
        raise Refused(f"{_shown(regex)}...: an expression has at most {REGEX_BYTES_MAX} bytes")
    if regex in _ANYTHING:
        return Expression(None)
    classes = CASELESS_CLASSES_MAX if _CASELESS.search(regex) else CLASSES_MAX
    if len(_CLASS.findall(regex)) > classes:
        raise Refused(
            f"{_shown(regex)}: an expression has at most {classes} of the classes \\p and \\P"
            f"{' where case does not count' if classes == CASELESS_CLASSES_MAX else ''}"
        )
    looks, rest = _split(regex)
    ahead = tuple((wanted, _compiled(inner, regex)) for wanted, inner in looks)
    return Expression(None if rest in _ANYTHING else _compiled(rest, regex), ahead)


def _split(regex: bytes) -> tuple[list[tuple[bool, bytes]], bytes]:
    """Look-aheads at its beginning, each with whether it has to match; the expression without.

    They are told apart only where all of the expression stands behind them: not in ``^(?!a)b|c``.
    """
    if not regex.startswith(b"^"):
        return [], regex
    looks: list[tuple[bool, bytes]] = []
    rest = regex[1:]
    while rest[:3] in _AHEAD and len(looks) < AHEAD_MAX:
        end = _closing(rest)
        if end < 0:
            return [], regex
        looks.append((_AHEAD[rest[:3]], rest[3:end]))
        rest = rest[end + 1 :]
    if not looks or rest[:1] in (b"*", b"+", b"?", b"{") or _has_branches(rest):
        return [], regex
    return looks, b"^" + rest


def _closing(regex: bytes) -> int:
    """Where the group that begins it ends; -1: nowhere."""
    return next((at for at, byte, depth in _plain(regex) if byte == _CLOSE and depth == 0), -1)


def _has_branches(regex: bytes) -> bool:
    """Whether it is one of several, outside of all groups."""
    return any(byte == _OR and depth == 0 for _, byte, depth in _plain(regex))


def _plain(regex: bytes) -> Iterator[tuple[int, int, int]]:
    """Bytes that are neither escaped nor in a class, and how deep in groups each stands."""
    depth, at, end = 0, 0, len(regex)
    while at < end:
        byte = regex[at]
        if byte == _ESCAPE:
            at += 2
            continue
        if byte == _BRACKET:
            at = _behind_class(regex, at)
            continue
        if byte == _CLOSE:
            depth -= 1
        yield at, byte, depth
        if byte == _OPEN:
            depth += 1
        at += 1


def _behind_class(regex: bytes, at: int) -> int:
    at += 1
    if regex[at : at + 1] == b"^":
        at += 1
    if regex[at : at + 1] == b"]":  # as the first, it is one of the class
        at += 1
    while at < len(regex) and regex[at] != _UNBRACKET:
        if regex[at : at + 2] == b"[:":
            closing = regex.find(b":]", at + 2)
            at = closing + 2 if closing >= 0 else at + 1
        else:
            at += 2 if regex[at] == _ESCAPE else 1
    return at + 1


def _compiled(regex: bytes, whole: bytes) -> Any:  # noqa: ANN401  re2 ships no type information
    """Raises Refused."""
    import re2  # 15 ms that only expressions pay

    options = re2.Options()
    options.log_errors = False
    options.never_capture = True  # groups that are remembered take 50 ms of a long name
    options.max_mem = PROGRAM_BYTES_MAX
    options.encoding = re2.Options.Encoding.LATIN1  # names are bytes, as they are to RabbitMQ
    try:
        return re2.compile(regex, options)
    except re2.error as error:
        [reason] = error.args
        said = reason.decode(errors="replace")
        raise Refused(f"{_shown(whole)} is not a regular expression of RE2: {said}") from None


def _shown(regex: bytes) -> str:
    return repr(regex.decode("utf-8", "backslashreplace")[:_SHOWN_CHARACTERS])
