"""The dead letter of a message that dies in a queue: x-death and other headers, as in RabbitMQ.

The client may have set a header of that name, from an earlier delivery of the message: it is merged
into the displayed header and counted. Cycles are detected only by the deaths in *this* server,
which are stored in a hidden header (celery#9867: tasks that were published again with their old
headers were dropped). Pure.

The hidden header: for each death, newest first, a letter for its reason, then the queue's name
after its length (a byte). Each pair of queue and reason is there once.
"""

from typing import Any, Final, NamedTuple

from logstore.amqp import fields, properties
from logstore.amqp.replies import Refusal
from logstore.broker.queues.message import keys_of

REJECTED, EXPIRED, MAXLEN, DELIVERY_LIMIT = "rejected", "expired", "maxlen", "delivery_limit"
_LETTERS: Final = {REJECTED: b"r", EXPIRED: b"e", MAXLEN: b"m", DELIVERY_LIMIT: b"d"}
_REASONS: Final = {letter[0]: reason for reason, letter in _LETTERS.items()}

Own = tuple[tuple[bytes, str], ...]  # queue and reason, newest first


class DeadLetter(NamedTuple):
    """A message that is published again."""

    exchange: bytes
    keys: tuple[bytes, ...]  # the first is its routing key
    properties: bytes
    body: bytes
    deaths: Own


class Dying(NamedTuple):
    """A message in the queue in which it dies."""

    exchange: bytes
    key: bytes
    properties: bytes
    body: bytes
    deaths: bytes


def own_deaths(data: bytes) -> Own:
    """Decode the hidden header, up to the first illegal byte."""
    found, at = [], 0
    while at + 2 <= len(data):
        reason, size = _REASONS.get(data[at]), data[at + 1]
        queue = data[at + 2 : at + 2 + size]
        if reason is None or len(queue) != size:
            break
        found.append((queue, reason))
        at += 2 + size
    return tuple(found)


def encode_deaths(deaths: Own) -> bytes:
    """Encode what ``own_deaths`` decodes."""
    return b"".join([_LETTERS[it] + bytes((len(queue),)) + queue for queue, it in deaths])


def goes_in_circles(deaths: Own, target: bytes) -> bool:
    """Whether the message has died in that queue before, and was not rejected then or since."""
    for queue, reason in deaths:
        if reason == REJECTED:
            return False
        if queue == target:
            return True
    return False


def dead_letter(
    dying: Dying, queue: bytes, reason: str, to: bytes, key: bytes | None, now_ms: int
) -> DeadLetter:
    """Return the message for the exchange ``to``. ``key``: the queue's
    x-dead-letter-routing-key.
    """
    try:
        found = properties.read(dying.properties)
    except Refusal:  # a record that no door has written
        found = properties.Properties()
    headers = dict(found.headers or {})
    keys = keys_of(dying.key, found.headers)
    _record(headers, dying, queue, reason, found, now_ms)
    if key is not None:
        headers.pop("CC", None)
        headers.pop("BCC", None)
        keys = (key,)
    deaths = own_deaths(dying.deaths)
    mine = (queue, reason)
    return DeadLetter(
        to,
        tuple(keys),
        properties.write(found._replace(headers=headers, expiration=None)),
        dying.body,
        (mine, *(it for it in deaths if it != mine)),
    )


def _record(
    headers: dict[str, Any],
    dying: Dying,
    queue: bytes,
    reason: str,
    found: properties.Properties,
    now_ms: int,
) -> None:
    name, exchange = fields.text(queue), fields.text(dying.exchange)
    before = headers.get("x-death")
    entries = before if type(before) is list else []
    again = next((it for it in entries if _is_of(it, name, reason)), None)
    if again is not None:
        entry = {**again, "count": fields.Long(_count(again.get("count")) + 1)}
        entries = [it for it in entries if it is not again]
    else:
        shown = keys_of(dying.key, {"CC": (found.headers or {}).get("CC")})
        entry = {
            "count": fields.Long(1),
            "reason": reason,
            "queue": name,
            "time": fields.Timestamp(now_ms // 1000),
            "exchange": exchange,
            "routing-keys": [fields.text(it) for it in shown],
        }
        if found.expiration is not None:
            entry["original-expiration"] = found.expiration
    headers["x-death"] = [entry, *entries]
    for what, value in (("reason", reason), ("queue", name), ("exchange", exchange)):
        headers.setdefault(f"x-first-death-{what}", value)
        headers[f"x-last-death-{what}"] = value


def _is_of(entry: Any, queue: str, reason: str) -> bool:  # noqa: ANN401  a client may have made it
    return type(entry) is dict and entry.get("queue") == queue and entry.get("reason") == reason


def _count(value: Any) -> int:  # noqa: ANN401
    """Return the count of an entry, which a client may have made; the sum must fit into 64 bits."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62:
        return int(value)
    return 0
