"""The limits of a queue by its arguments and its policy.

They are compiled when the queue is declared and when its policy changes. The arguments of
RabbitMQ's classic and quorum queues are all supported in one kind of queue; streams have their own.
As in RabbitMQ, unknown arguments are accepted. Pure.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from logstore.amqp.fields import data, text
from logstore.broker.deduplication.headers import HEADER, is_name
from logstore.broker.policies import CLASSIC, SETTINGS, STREAM, Definition
from logstore.broker.queues.ages import age_ms
from logstore.broker.queues.once import Once
from logstore.broker.queues.refusals import InvalidQueueArgument, NotOfType, QueueDiffers
from logstore.broker.routing.arguments import (
    CLASS_OF_KIND,
    NO_ARGUMENTS,
    Arguments,
    Field,
    comparable,
)
from logstore.settings import FOREVER

SEGMENT_BYTES_MAX: Final = 3_000_000_000  # of a stream's segments, as in RabbitMQ
TTL_MAX_MS: Final = 315_360_000_000  # ten years, as in RabbitMQ

DROP_HEAD, REJECT_PUBLISH = b"drop-head", b"reject-publish"
REJECT_PUBLISH_DLX = b"reject-publish-dlx"
ROUTING_KEY, BY_HEADER = b"routing-key", b"header:"


class QueueFacts(NamedTuple):
    """One queue as declared."""

    name: bytes
    durable: bool = False
    exclusive: bool = False  # dies with the connection that declared it
    auto_delete: bool = False  # goes when its last consumer goes
    arguments: Arguments = NO_ARGUMENTS

    @property
    def lasts(self) -> bool:
        """Whether the queue outlives the process: an exclusive one never does."""
        return self.durable and not self.exclusive

    @property
    def type_name(self) -> str:
        """The type from the arguments; defaults to ``classic``."""
        field = self.arguments.get(b"x-queue-type")
        return CLASSIC if field is None or field.kind != "S" else text(field.value)


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one queue. None: no such limit."""

    expires_ms: int | None = None
    ttl_ms: int | None = None
    dead_letter_exchange: bytes | None = None
    dead_letter_key: bytes | None = None
    at_least_once: bool = False
    max_length: int | None = None
    max_bytes: int | None = None
    overflow: bytes = DROP_HEAD
    max_priority: int | None = None
    delivery_limit: int | None = None
    single_active: bool = False
    consumer_timeout_ms: int | None = None
    retry_type: bytes = b"disabled"
    retry_min_ms: int = 0
    retry_max_ms: int = 0
    quorum: bool = False
    retention_ms: int | None = None  # None: as the store has it
    retention_bytes: int | None = None
    once: Once | None = None  # repeats are kept out
    max_age_ms: int | None = None  # of a stream
    segment_bytes: int | None = None
    ordering_key: bytes | None = None  # ``ROUTING_KEY``, or ``BY_HEADER`` and a header's name
    ordering_prefetch: int = 0  # of messages of one key; 0: any number

    @property
    def retention(self) -> Mapping[str, str]:
        """The settings of the lanes' logs that differ from the store's."""
        given = {
            "retention.ms": self.retention_ms, "retention.bytes": self.retention_bytes,
            "deduplication.header": None if self.once is None else self.once.header,
        }  # fmt: skip
        return {name: str(it) for name, it in given.items() if it is not None}

    @property
    def rejects(self) -> bool:
        """Whether a message that does not fit is refused, instead of dropping an older one."""
        return self.overflow != DROP_HEAD and (
            self.max_length is not None or self.max_bytes is not None
        )

    def retried_later(self, *, failed: bool) -> bool:
        """Whether a returned message waits before it is ready again."""
        return self.retry_min_ms > 0 and (
            self.retry_type == b"all" or self.retry_type == (b"failed" if failed else b"returned")
        )


_Fault = str | None
_Check = Callable[[Field], _Fault]


def _of_kind(name: str, fault: str = "unacceptable_type") -> _Check:
    return lambda field: None if CLASS_OF_KIND[field.kind] == name else fault


_integer = _of_kind("integer", "no_integer")
_boolean, _text = _of_kind("boolean"), _of_kind("text")


def _from_0(field: Field) -> _Fault:
    return _integer(field) or ("value_negative" if field.value < 0 else None)


def _from_1(field: Field) -> _Fault:
    return _integer(field) or ("value_zero" if field.value == 0 else _from_0(field))


def _upto(most: int, check: _Check, fault: str) -> _Check:
    return lambda field: check(field) or (fault if field.value > most else None)


def _one_of(fault: str, *values: bytes) -> _Check:
    return lambda field: _text(field) or (None if field.value in values else fault)


def _header(field: Field) -> _Fault:
    return _text(field) or (None if is_name(field.value) else "invalid_header_name")


def _age(field: Field) -> _Fault:
    return _text(field) or ("invalid_max_age" if age_ms(text(field.value)) is None else None)


def _limit(field: Field) -> _Fault:
    return _integer(field) or ("value_negative" if field.value < -1 else None)


def _ordering_key(field: Field) -> _Fault:
    if fault := _text(field):
        return fault
    value = field.value
    named = value.startswith(BY_HEADER) and is_name(value.removeprefix(BY_HEADER))
    return None if value == ROUTING_KEY or named else "invalid_ordering_key"


# In RabbitMQ's order of comparison as far as it has one; then those of quorum queues, and ours.
CHECKS: Final[Mapping[bytes, _Check]] = {
    b"x-expires": _upto(TTL_MAX_MS, _from_1, "value_too_large"),
    b"x-message-ttl": _upto(TTL_MAX_MS, _from_0, "value_too_large"),
    b"x-dead-letter-exchange": _text,
    b"x-dead-letter-routing-key": _text,
    b"x-dead-letter-strategy": _one_of("invalid_dlx_strategy", b"at-most-once", b"at-least-once"),
    b"x-max-length": _from_0,
    b"x-max-length-bytes": _from_0,
    b"x-max-in-memory-length": _from_0,
    b"x-max-in-memory-bytes": _from_0,
    b"x-max-priority": _upto(255, _from_0, "max_value_exceeded"),
    b"x-overflow": _one_of("invalid_overflow", DROP_HEAD, REJECT_PUBLISH, REJECT_PUBLISH_DLX),
    b"x-queue-mode": _one_of("invalid_queue_mode", b"default", b"lazy"),
    b"x-queue-version": _upto(2, _from_1, "invalid_queue_version"),
    b"x-single-active-consumer": _boolean,
    b"x-queue-type": _one_of("invalid_queue_type", b"classic", b"quorum", b"stream"),
    b"x-quorum-initial-group-size": _from_1,
    b"x-quorum-target-group-size": _from_1,
    b"x-queue-master-locator": _text,
    b"x-queue-leader-locator": _one_of(
        "invalid_queue_locator_arg", b"client-local", b"balanced", b"random", b"least-leaders"
    ),
    b"x-delivery-limit": _limit,
    b"x-consumer-timeout": _from_0,
    b"x-consumer-disconnected-timeout": _from_0,
    b"x-delayed-retry-type": _one_of(
        "invalid_delayed_retry_type", b"disabled", b"all", b"failed", b"returned"
    ),
    b"x-delayed-retry-min": _upto(TTL_MAX_MS, _from_0, "value_too_large"),
    b"x-delayed-retry-max": _upto(TTL_MAX_MS, _from_0, "value_too_large"),
    # logstore's own: how long, and how many bytes of, settled messages can be read again.
    b"x-retention-ms": _upto(FOREVER, _from_0, "value_too_large"),
    b"x-retention-bytes": _upto(FOREVER, _limit, "value_too_large"),
    # Of the well-known plugin, also for exchanges: repeats are kept out.
    b"x-message-deduplication": _boolean,
    b"x-deduplication-header": _header,
    b"x-cache-ttl": _upto(TTL_MAX_MS, _from_1, "value_too_large"),
    b"x-cache-size": _upto(FOREVER, _from_1, "value_too_large"),
    b"x-ordering-key": _ordering_key,
    b"x-ordering-prefetch": _upto(65_535, _from_0, "value_too_large"),  # as a consumer's
    b"x-max-age": _age,
    b"x-stream-max-segment-size-bytes": _upto(SEGMENT_BYTES_MAX, _from_0, "value_too_large"),
    b"x-stream-filter-size-bytes": _upto(255, _from_0, "value_too_large"),
    b"x-initial-cluster-size": _from_1,
}
# Arguments that have no effect without another one.
_NEEDING: Final = (
    (b"x-dead-letter-routing-key", b"x-dead-letter-exchange", "routing_key_but_no_dlx_defined"),
    (b"x-ordering-prefetch", b"x-ordering-key", "ordering_prefetch_but_no_ordering_key"),
)
# Of streams only: they have no effect on a queue, and their sender expects a stream.
_ONLY_STREAMS: Final = frozenset({
    b"x-max-age", b"x-stream-max-segment-size-bytes", b"x-stream-filter-size-bytes",
    b"x-initial-cluster-size",
})  # fmt: skip
_OF_STREAMS: Final = _ONLY_STREAMS | {
    b"x-queue-type", b"x-max-length-bytes", b"x-queue-leader-locator",
}  # fmt: skip

# Of an argument and a policy's setting the smaller one counts; of others the argument does.
_SMALLER: Final = frozenset({
    b"x-message-ttl", b"x-expires", b"x-max-length", b"x-max-length-bytes", b"x-delivery-limit",
    b"x-retention-ms", b"x-retention-bytes",
})  # fmt: skip
_MOST: Final[Mapping[bytes, int]] = {
    b"x-message-ttl": TTL_MAX_MS, b"x-expires": TTL_MAX_MS, b"x-delayed-retry-min": TTL_MAX_MS,
    b"x-retention-ms": FOREVER, b"x-retention-bytes": FOREVER,
}  # fmt: skip
_UNLIMITED: Final = -1  # x-delivery-limit, x-retention-bytes
NO_DEFINITION: Final[Definition] = {}


def limits_of(facts: QueueFacts, definition: Definition = NO_DEFINITION) -> Limits:
    """Return the limits of a queue. ``definition``: of its policy.

    Raises InvalidQueueArgument, NotOfType for the first illegal argument.
    """
    found: dict[bytes, Field] = {}
    stream = facts.type_name == STREAM
    for name, field in facts.arguments:
        check = CHECKS.get(name)
        if check is not None:
            if name in _ONLY_STREAMS if not stream else name not in _OF_STREAMS:
                raise NotOfType(facts.name, name, facts.type_name)
            found[name] = field
            if fault := check(field):
                raise InvalidQueueArgument(facts.name, name, field, fault)
    for name, of, fault in _NEEDING:
        if name in found and of not in found:
            raise InvalidQueueArgument(facts.name, name, found[name], fault)
    values = {name: field.value for name, field in found.items()}
    return _compiled(_governed(values, definition) if definition else values)


def _governed(values: dict[bytes, Any], definition: Definition) -> dict[bytes, Any]:
    """Return the arguments with those of the policy, combined as in RabbitMQ."""
    found = dict(values)
    for key, value in definition.items():
        setting = SETTINGS.get(key)
        if setting is None or setting.argument not in CHECKS:
            continue
        name, said = setting.argument, data(value) if isinstance(value, str) else value
        own = values.get(name)
        if own is None:
            found[name] = said
        elif name in _SMALLER:
            found[name] = max(own, said) if _UNLIMITED in (own, said) else min(own, said)
    for name, most in _MOST.items():  # a policy may say more than an argument
        if name in found:
            found[name] = min(found[name], most)
    return found


def _compiled(value: dict[bytes, int | bytes | bool]) -> Limits:
    def number(name: bytes) -> int | None:
        found = value.get(name)
        return None if found is None else int(found)

    def text(name: bytes) -> bytes | None:
        found = value.get(name)
        return found if isinstance(found, bytes) else None

    limit = number(b"x-delivery-limit")
    retry_min = number(b"x-delayed-retry-min") or 0
    retry_max = number(b"x-delayed-retry-max")
    return Limits(
        expires_ms=number(b"x-expires"),
        ttl_ms=number(b"x-message-ttl"),
        dead_letter_exchange=text(b"x-dead-letter-exchange"),
        dead_letter_key=text(b"x-dead-letter-routing-key"),
        at_least_once=text(b"x-dead-letter-strategy") == b"at-least-once",
        max_length=number(b"x-max-length"),
        max_bytes=number(b"x-max-length-bytes"),
        overflow=text(b"x-overflow") or DROP_HEAD,
        max_priority=number(b"x-max-priority"),
        delivery_limit=None if limit is None or limit < 0 else limit,
        single_active=bool(value.get(b"x-single-active-consumer")),
        consumer_timeout_ms=number(b"x-consumer-timeout") or None,
        retry_type=text(b"x-delayed-retry-type") or b"disabled",
        retry_min_ms=retry_min,
        retry_max_ms=TTL_MAX_MS if retry_max is None else max(retry_min, retry_max),
        quorum=text(b"x-queue-type") == b"quorum",
        retention_ms=number(b"x-retention-ms"),
        retention_bytes=number(b"x-retention-bytes"),
        once=_once(value),
        max_age_ms=None if (age := text(b"x-max-age")) is None else age_ms(age.decode()),
        segment_bytes=number(b"x-stream-max-segment-size-bytes"),
        ordering_key=text(b"x-ordering-key"),
        ordering_prefetch=number(b"x-ordering-prefetch") or 0,
    )


def _once(value: Mapping[bytes, int | bytes | bool]) -> Once | None:
    """Return the deduplication; the header argument enables it, unless its own argument
    is false.
    """
    header = value.get(b"x-deduplication-header")
    if not value.get(b"x-message-deduplication", header is not None):
        return None
    name = text(header) if isinstance(header, bytes) else HEADER
    known, most = value.get(b"x-cache-ttl"), value.get(b"x-cache-size")
    return Once(name, None if known is None else int(known), None if most is None else int(most))


_TYPE = b"x-queue-type"
_CLASSIC = Field("S", b"classic")


def check_equivalent(current: QueueFacts, declared: QueueFacts) -> None:
    """Compare a queue with its declaration. Raises QueueDiffers with the first difference.

    The order is RabbitMQ's. Unknown arguments are not compared; a queue without a type is a classic
    one. Exclusiveness must be equal here: the caller has reported a difference as a locked queue.
    """
    for name, before, now in (
        ("durable", current.lasts, declared.lasts),
        ("auto_delete", current.auto_delete, declared.auto_delete),
    ):
        if before != now:
            raise QueueDiffers(current.name, name, now, before)
    for argument in CHECKS:
        had, has = current.arguments.get(argument), declared.arguments.get(argument)
        default = _CLASSIC if argument == _TYPE else None
        was, said = had or default, has or default
        if (was and comparable(was)) != (said and comparable(said)):
            raise QueueDiffers(current.name, argument.decode(), has, had)
