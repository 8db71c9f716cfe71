"""Permissions in RabbitMQ's language: regular expressions on the names in a virtual host.

An expression is searched for in the name: it needs ``^`` and ``$`` to match the whole name. An
empty expression allows only the empty name, for which the server chooses a name. The engine is RE2,
whose time is linear in the length of the name. It has every feature of RabbitMQ's engine except
look-around and back-references; an expression that uses these is refused when it is set.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from logstore.access import resources as on
from logstore.access.resources import name_bytes
from logstore.errors import Refused
from logstore.kept.users import KeptPermission, KeptTopicPermission

REGEX_BYTES_MAX: Final = 4096  # those in use have some ten; compiling is 6 us a byte
PROGRAM_BYTES_MAX: Final = 1 << 20  # repetitions of repetitions are short to write
REMEMBERED_MAX: Final = 4096  # compiled ones; topic permissions have one for each user

_SHOWN_CHARACTERS: Final = 60  # of one that is refused

NOTHING: Final = frozenset({"", "^$"})
ANYTHING: Final = ".*"  # most have this: it is told without the engine, which takes 15 ms to import

# Kinds of objects that are in a virtual host, and by which of the three each operation is allowed.
KINDS: Final = frozenset({on.EXCHANGE, on.QUEUE})
_ANY_OF_THEM: Final = ("read", "write", "configure")
BY_OPERATION: Final[Mapping[str, tuple[str, ...]]] = {
    on.READ: ("read",),
    on.WRITE: ("write",),
    on.CREATE: ("configure",),
    on.DELETE: ("configure",),
    on.ALTER: ("configure",),
    on.ALTER_CONFIGS: ("configure",),
    on.DESCRIBE: _ANY_OF_THEM,  # as a passive declaration asks
    on.DESCRIBE_CONFIGS: _ANY_OF_THEM,
}

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


@lru_cache(REMEMBERED_MAX)
def _compiled(regex: str) -> Any:  # noqa: ANN401  re2 ships no type information
    """Raises Refused."""
    import re2  # no expression can stall it; 15 ms that only permissions pay

    options = re2.Options()
    options.log_errors = False
    options.max_mem = PROGRAM_BYTES_MAX
    options.encoding = re2.Options.Encoding.LATIN1  # names are bytes, as they are to RabbitMQ
    try:
        return re2.compile(name_bytes(regex), options)
    except re2.error as error:
        [reason] = error.args
        raise Refused(
            f"{regex[:_SHOWN_CHARACTERS]!r} is not a regular expression of RE2: "
            f"{reason.decode(errors='replace')}"
        ) from None


def matches(regex: str, name: str) -> bool:
    """Whether the expression is found in the name. An unusable expression matches nothing."""
    if regex in NOTHING:
        return not name
    if regex == ANYTHING:
        return True
    try:
        return _compiled(regex).search(name_bytes(name)) is not None
    except Refused:
        return False


def allows(permission: KeptPermission, operation: str, name: str) -> str | None:
    """The part of the permission that allows this for the object in its host; None: nothing."""
    for which in BY_OPERATION.get(operation, ()):
        regex: str = getattr(permission, which)
        if matches(regex, name):
            return (
                f"permission of user {permission.user} in vhost {permission.vhost}: {which} {regex}"
            )
    return None


def allows_some(permission: KeptPermission, operation: str) -> bool:
    """Whether it may allow this for some name, as far as the expression shows."""
    return any(
        getattr(permission, which) not in NOTHING for which in BY_OPERATION.get(operation, ())
    )


def expanded(regex: str, known: Mapping[str, str]) -> str:
    """The expression of a topic permission with ``{username}`` and others filled in.

    A user's name always stands for itself there, even in a character class or after a backslash:
    each of its bytes is written as a numeric escape.
    """

    def literally(found: re.Match[str]) -> str:
        text = known.get(found[1])
        return found[0] if text is None else "".join(f"\\x{it:02x}" for it in name_bytes(text))

    return _PLACEHOLDER.sub(literally, regex)


def allows_key(
    permission: KeptTopicPermission, operation: str, key: str, known: Mapping[str, str]
) -> str | None:
    """The part that allows publishing (write) or binding (read) with this routing key; None:
    nothing.
    """
    which = {on.WRITE: "write", on.READ: "read"}[operation]
    regex: str = getattr(permission, which)
    if not matches(expanded(regex, known), key):
        return None
    return (
        f"topic permission of user {permission.user} at exchange {permission.exchange} in vhost "
        f"{permission.vhost}: {which} {regex}"
    )


def check_expression(regex: str) -> str:
    """The same text, if it is a regular expression. Raises Refused."""
    shown = regex[:_SHOWN_CHARACTERS]
    try:
        data = regex.encode()
    except UnicodeEncodeError:
        raise Refused(f"{shown!r}: an expression must be UTF-8") from None
    if len(data) > REGEX_BYTES_MAX:
        raise Refused(f"{shown!r}...: an expression has at most {REGEX_BYTES_MAX} bytes")
    _compiled(regex)
    return regex
