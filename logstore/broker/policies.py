"""Policies, in RabbitMQ's language: settings of all exchanges and queues whose names match.

If several match, the one with the highest priority applies. A queue's own arguments apply, too
(``queues/limits.py``). Pure.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from logstore.amqp.fields import data
from logstore.errors import LogstoreError, NoneOfThatName, Refused
from logstore.expressions import Expression, expression

POLICIES_MAX: Final = 1000  # of a virtual host: each is tried at each declaration, in 0.5 us
NAME_BYTES_MAX: Final = 255
ITEMS_MAX: Final = 100  # of a list that is a value, and of what an error shows
TEXT_BYTES_MAX: Final = 1024  # of a value: names and keys have at most 255
NUMBER_MAX: Final = (1 << 63) - 1  # as a table has it

ALL, EXCHANGES, QUEUES = "all", "exchanges", "queues"
CLASSIC, QUORUM, STREAM = "classic", "quorum", "stream"
# What a policy may be for, as its ``apply_to``: the types of queues; the last three since 3.12.
TYPES_OF: Final[Mapping[str, frozenset[str]]] = {
    ALL: frozenset({CLASSIC, QUORUM, STREAM}),
    QUEUES: frozenset({CLASSIC, QUORUM, STREAM}),
    EXCHANGES: frozenset(),
    "classic_queues": frozenset({CLASSIC}),
    "quorum_queues": frozenset({QUORUM}),
    "streams": frozenset({STREAM}),
}

Definition = Mapping[str, Any]  # values as JSON has them
Priority = int | float  # RabbitMQ takes any number


class Policy(NamedTuple):
    """One policy of a virtual host, identified by name."""

    name: str
    pattern: str
    definition: Definition
    priority: Priority = 0
    apply_to: str = ALL


def policy_given(name: str, row: Mapping[str, Any]) -> Policy:
    """Return a policy from RabbitMQ's JSON, without its name; its values are not checked."""
    priority, apply_to = row.get("priority"), row.get("apply-to")
    return Policy(
        name, row.get("pattern", ""), row.get("definition", {}),
        0 if priority is None else priority, ALL if apply_to is None else apply_to,
    )  # fmt: skip


def policy_row(policy: Policy) -> dict[str, Any]:
    """Return a policy as a row, with its name."""
    return {
        "name": policy.name, "pattern": policy.pattern, "apply-to": policy.apply_to,
        "definition": dict(policy.definition), "priority": policy.priority,
    }  # fmt: skip


class InvalidPolicy(Refused):
    """An invalid policy. ``fault`` is RabbitMQ's text for it."""

    def __init__(self, policy: str, sentence: str, fault: str) -> None:
        super().__init__(f"policy {policy[:NAME_BYTES_MAX]!r}: {sentence}")
        self.fault = fault


class NoPolicy(NoneOfThatName):
    """The virtual host has no policy of that name."""

    def __init__(self, policy: str, vhost: str) -> None:
        super().__init__(f"no policy {policy!r} in virtual host {vhost!r}", policy)


class TooManyPolicies(Refused):
    """The virtual host has the maximum number of policies."""

    def __init__(self) -> None:
        super().__init__(
            f"a virtual host has at most {POLICIES_MAX} policies; join several, or delete some"
        )


# What settings may be

_Check = Callable[[Any], bool]


def _is_number(value: Any, least: int = 0, most: int = NUMBER_MAX) -> bool:  # noqa: ANN401
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _number(least: int = 0, most: int = NUMBER_MAX) -> _Check:
    return lambda value: _is_number(value, least, most)


def _text(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, str) and len(data(value)) <= TEXT_BYTES_MAX


def _one_of(*values: object) -> _Check:
    return lambda value: any(type(value) is type(it) and value == it for it in values)


def is_age(value: object) -> bool:
    """Whether this is an age such as ``7D``: a number with Y, M, D, h, m or s, as for streams."""
    return (
        isinstance(value, str)
        and value[-1:] in tuple("YMDhms")
        and value[:-1].isascii()
        and value[:-1].isdigit()
        and len(value) <= 18  # of a number of 64 bits
    )


def _anything(value: Any) -> bool:  # noqa: ANN401
    """Whether the value of a setting without effect is legal: text, number, flag or
    list of texts.
    """
    if isinstance(value, list):
        return len(value) <= ITEMS_MAX and all(map(_text, value))
    return _text(value) or isinstance(value, bool) or _is_number(value, -NUMBER_MAX)


class _Setting(NamedTuple):
    check: _Check
    called: str  # by RabbitMQ, where a value is none
    argument: bytes = b""  # of a queue, which it is like; b"": it is none of queues here


_TTL, _NAME = _number(), _text
_RETRY: Final = _one_of("disabled", "all", "failed", "returned")
_LEADER: Final = _one_of("client-local", "balanced", "random", "least-leaders")
ALTERNATE: Final = "alternate-exchange"
# Of exchanges that send each message on once, as their plugin has them.
CACHE_SIZE, CACHE_TTL, CACHE_PERSISTENCE = "x-cache-size", "x-cache-ttl", "x-cache-persistence"
SETTINGS: Final[Mapping[str, _Setting]] = {
    ALTERNATE: _Setting(_NAME, "alternate exchange name"),
    "dead-letter-exchange": _Setting(
        _NAME, "dead letter exchange name", b"x-dead-letter-exchange"
    ),
    "dead-letter-routing-key": _Setting(
        _NAME, "dead letter routing key", b"x-dead-letter-routing-key"
    ),
    "dead-letter-strategy": _Setting(
        _one_of("at-most-once", "at-least-once"), "dead letter strategy",
        b"x-dead-letter-strategy",
    ),
    "message-ttl": _Setting(_TTL, "message TTL", b"x-message-ttl"),
    "expires": _Setting(_number(1), "queue expiry", b"x-expires"),
    "max-length": _Setting(_number(), "maximum length", b"x-max-length"),
    "max-length-bytes": _Setting(_number(), "maximum length in bytes", b"x-max-length-bytes"),
    "overflow": _Setting(
        _one_of("drop-head", "reject-publish", "reject-publish-dlx"), "overflow value",
        b"x-overflow",
    ),
    "delivery-limit": _Setting(_number(-1), "delivery limit", b"x-delivery-limit"),
    "consumer-timeout": _Setting(_number(), "consumer timeout", b"x-consumer-timeout"),
    "delayed-retry-type": _Setting(_RETRY, "delayed retry type", b"x-delayed-retry-type"),
    "delayed-retry-min": _Setting(_number(), "delayed retry time", b"x-delayed-retry-min"),
    "delayed-retry-max": _Setting(_number(), "delayed retry time", b"x-delayed-retry-max"),
    # Ours: how long messages that are settled stay.
    "retention-ms": _Setting(_number(), "retention in milliseconds", b"x-retention-ms"),
    "retention-bytes": _Setting(_number(-1), "retention in bytes", b"x-retention-bytes"),
    CACHE_SIZE: _Setting(_number(1), "number of ids"),
    CACHE_TTL: _Setting(_number(1), "time for which ids are known"),
    CACHE_PERSISTENCE: _Setting(_one_of("disk", "memory"), "persistence of ids"),
    # Of streams.
    "max-age": _Setting(is_age, "max age", b"x-max-age"),
    "stream-max-segment-size-bytes": _Setting(
        _number(0, 3_000_000_000), "segment size", b"x-stream-max-segment-size-bytes"
    ),
}  # fmt: skip

# Taken, and without effect on one node that has one kind of queue: by why.
_ONE_NODE, _MEMORY = "there is one node", "where messages are kept is not a queue's choice"
_ELSEWHERE: Final = "RabbitMQ's plugin for it is not here"
WITHOUT_EFFECT: Final[Mapping[str, str]] = {
    **dict.fromkeys((
        "ha-mode", "ha-params", "ha-sync-mode", "ha-sync-batch-size", "ha-promote-on-shutdown",
        "ha-promote-on-failure", "queue-leader-locator", "queue-master-locator",
        "initial-cluster-size", "target-group-size",
    ), _ONE_NODE),
    **dict.fromkeys((
        "queue-mode", "queue-version", "max-in-memory-length", "max-in-memory-bytes",
        "stream-filter-size-bytes",
    ), _MEMORY),
    **dict.fromkeys((
        "federation-upstream", "federation-upstream-set", "federation-upstream-pattern",
        "shards-per-node", "routing-key",
    ), _ELSEWHERE),
}  # fmt: skip
_CHECKED_TOO: Final[Mapping[str, _Setting]] = {
    "queue-mode": _Setting(_one_of("default", "lazy"), "queue-mode value"),
    "queue-version": _Setting(_one_of(1, 2), "queue-version value"),
    "queue-leader-locator": _Setting(_LEADER, "queue leader locator value"),
    "initial-cluster-size": _Setting(_number(), "cluster size"),
    "max-in-memory-length": _Setting(_number(), "maximum memory in bytes"),
    "max-in-memory-bytes": _Setting(_number(), "maximum memory in bytes"),
}

# A policy with a setting that a type of queue lacks does not apply to that type at all: the policy
# of the next lower priority applies (rabbit_queue_type:is_policy_applicable).
_HA: Final = frozenset(it for it in WITHOUT_EFFECT if it.startswith("ha-"))
_OF_STREAMS: Final = frozenset({"max-age", "stream-max-segment-size-bytes", "initial-cluster-size"})
NOT_OF: Final[Mapping[str, frozenset[str]]] = {
    CLASSIC: _OF_STREAMS | {"queue-leader-locator", "delivery-limit", "dead-letter-strategy"},
    QUORUM: _OF_STREAMS | _HA | {"queue-mode", "queue-master-locator"},
    STREAM: _HA | {
        "expires", "message-ttl", "dead-letter-exchange", "dead-letter-routing-key",
        "dead-letter-strategy", "max-length", "max-in-memory-length", "max-in-memory-bytes",
        "overflow", "queue-mode", "delivery-limit", "queue-master-locator",
    },
}  # fmt: skip


def check(policy: Policy) -> Policy:
    """Check a policy, and return it. Raises InvalidPolicy with the first fault, in RabbitMQ's
    words.
    """
    _check_name(policy.name)
    _check_frame(policy)
    _check_definition(policy.name, policy.definition)
    return policy


def _check_name(name: str) -> None:
    size = len(data(name))
    if not 0 < size <= NAME_BYTES_MAX:
        what = f"it has a name of {size} bytes; names have 1 to {NAME_BYTES_MAX}"
        raise InvalidPolicy(name, what, "name should be a short text")


def _check_frame(policy: Policy) -> None:
    given: tuple[Any, ...] = policy  # as somebody gave it: it may be of any type
    name, pattern, _, priority, apply_to = given
    if isinstance(priority, bool) or not isinstance(priority, int | float):
        fault = f"priority should be a number, actually was {erlang(priority)}"
        raise InvalidPolicy(name, f"priority {shown(priority)} is not a number", fault)
    if not -NUMBER_MAX <= priority <= NUMBER_MAX:  # also NaN
        raise InvalidPolicy(name, "priority is too large; use a smaller one", "priority too large")
    if not isinstance(pattern, str):
        fault = f"pattern should be a binary but was {erlang(pattern)}"
        raise InvalidPolicy(name, f"pattern {shown(pattern)} is not a text", fault)
    try:
        expression(data(pattern))
    except Refused as error:
        fault = f"pattern should be regular expression but is invalid: {error}"
        raise InvalidPolicy(name, f"pattern {error}; use another expression", fault) from None
    if not isinstance(apply_to, str) or apply_to not in TYPES_OF:
        said = apply_to if isinstance(apply_to, str) else erlang(apply_to)
        fault = f"apply-to '{said}' unrecognised; should be 'queues', 'exchanges' or 'all'"
        one_of = ", ".join(TYPES_OF)
        raise InvalidPolicy(name, f"apply-to {shown(apply_to)} is not one of {one_of}", fault)


def _check_definition(name: str, definition: Any) -> None:  # noqa: ANN401
    if not isinstance(definition, Mapping):
        fault = f"definition must be a dictionary: {erlang(definition)}"
        raise InvalidPolicy(name, "its definition is not an object of settings", fault)
    if not definition:
        what = "it sets nothing; give at least one setting"
        raise InvalidPolicy(name, what, "no policy provided")
    unknown = [it for it in definition if it not in SETTINGS and it not in WITHOUT_EFFECT]
    if unknown:
        listed = ",".join(f"{{{erlang(it)},{erlang(definition[it])}}}" for it in unknown[:3])
        said = ", ".join(shown(it) for it in unknown[:3])
        fault = f"[{listed}] are not recognised policy settings"
        raise InvalidPolicy(name, f"{said} is not a setting of policies", fault)
    for key, value in definition.items():
        setting = SETTINGS.get(key) or _CHECKED_TOO.get(key)
        if setting is None:
            if not _anything(value):
                fault = f"{erlang(value)[:TEXT_BYTES_MAX]} is not a valid value of {key}"
                raise InvalidPolicy(name, f"{key} can't be {shown(value)}", fault)
        elif not setting.check(value):
            fault = f"{erlang(value)[:TEXT_BYTES_MAX]} is not a valid {setting.called}"
            raise InvalidPolicy(
                name, f"{key} {shown(value)} is not a valid {setting.called}", fault
            )


def without_unknown(policy: Policy) -> tuple[Policy, list[str]]:
    """Return the policy without unknown settings, and the names of these."""
    known = {
        key: value for key, value in policy.definition.items()
        if key in SETTINGS or key in WITHOUT_EFFECT
    }  # fmt: skip
    unknown = [it for it in policy.definition if it not in known]
    return policy._replace(definition=known), unknown


def erlang(value: object) -> str:
    """Return a JSON value as RabbitMQ's messages show it."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return f'<<"{value[:TEXT_BYTES_MAX]}">>'
        case list():
            return f"[{','.join(erlang(it) for it in value[:ITEMS_MAX])}]"
        case Mapping():
            rows = list(value.items())[:ITEMS_MAX]
            return f"#{{{','.join(f'{erlang(key)} => {erlang(it)}' for key, it in rows)}}}"
    return str(value)[:TEXT_BYTES_MAX]


def shown(value: object) -> str:
    """Return a given value, shortened, as it was written."""
    text = "null" if value is None else str(value)
    return repr(text[:60]) if isinstance(value, str) else text[:60]


# Which one counts


class _Ready(NamedTuple):
    """A compiled policy."""

    policy: Policy
    expression: Expression


class Policies:
    """The policies of one virtual host, in the order in which they are tried."""

    def __init__(self) -> None:
        self.by_name: dict[str, Policy] = {}
        self._ready: list[_Ready] = []  # in order
        self._for_exchanges: list[_Ready] = []
        self._for_queues: dict[str, list[_Ready]] = {}  # by their types

    def __len__(self) -> int:
        return len(self.by_name)

    def __iter__(self) -> Iterator[Policy]:
        """Iterate over the policies, by descending priority, then by name."""
        return iter(sorted(self.by_name.values(), key=_order))

    def put(self, *policies: Policy) -> None:
        """Set policies, which replace others of the same names."""
        for policy in policies:
            self.by_name[policy.name] = policy
        self._sort()

    def remove(self, name: str) -> None:
        """Remove an existing policy."""
        del self.by_name[name]
        self._sort()

    def _sort(self) -> None:
        # A thousand long ones take 200 ms or more to compile, and not all may be remembered.
        known = {it.policy.pattern: it.expression for it in self._ready}
        self._ready = ready = list[_Ready]()
        for policy in self:
            pattern = policy.pattern
            try:
                ready.append(_Ready(policy, known.get(pattern) or expression(data(pattern))))
            except LogstoreError:  # another logstore took it
                continue
        self._for_exchanges = [it for it in ready if it.policy.apply_to in (ALL, EXCHANGES)]
        self._for_queues = {
            kind: [
                it for it in ready
                if kind in TYPES_OF.get(it.policy.apply_to, ())
                and NOT_OF[kind].isdisjoint(it.policy.definition)
            ]
            for kind in (CLASSIC, QUORUM, STREAM)
        }  # fmt: skip

    def of_queue(self, name: bytes, kind: str) -> Policy | None:
        """Return the policy for a queue of this type; an unknown type counts as classic."""
        if not self.by_name:
            return None
        those = self._for_queues.get(kind)
        return _first(self._for_queues[CLASSIC] if those is None else those, name)

    def of_exchange(self, name: bytes) -> Policy | None:
        """Return the policy for an exchange."""
        return _first(self._for_exchanges, name)


def _order(policy: Policy) -> tuple[Priority, str]:
    return -policy.priority, policy.name


def _first(those: list[_Ready], name: bytes) -> Policy | None:
    return next((it.policy for it in those if it.expression.found_in(name)), None)
