"""SUBSCRIBE and UNSUBSCRIBE: handles a few filters at a time."""

from collections.abc import Sequence
from typing import Final

from logstore.broker.mqtt.filters import (
    SHARE,
    InvalidFilter,
    NotText,
    check_filter,
    shared,
)
from logstore.broker.mqtt.member import Grant
from logstore.broker.mqtt.session import TooManySubscriptions
from logstore.broker.queues.pending import Pending, both
from logstore.errors import LogstoreError
from logstore.mqtt import kinds, packets, reasons
from logstore.mqtt.kinds import V5
from logstore.mqtt.packets import Answers, Options, Subscribe, Unsubscribe
from logstore.mqtt.reasons import Broken, malformed, not_allowed
from logstore.protocols.mqtt import retaining
from logstore.protocols.mqtt.carrier import Carrier
from logstore.protocols.mqtt.phase import Phase
from logstore.slices import Steps, parts

FILTERS_AT_ONCE: Final = 20  # at some 20 us each
UNITS: Final = 16  # of one, each some microseconds
_FAILED_V311: Final = 0x80


def subscribing(of: Carrier, packet: Subscribe) -> Steps:
    """Carry out a SUBSCRIBE. Raises Broken."""
    ids = packet.properties.subscription_ids
    said = bytearray()
    pending: Pending | None = None
    batch = retaining.Batch()
    for some in parts(packet.filters, FILTERS_AT_ONCE):
        if of.phase is not Phase.RUNNING or of.mine is None:
            return
        codes, kept = _some(of, some, ids[0] if ids else 0, batch)
        said += codes
        if kept is not None:
            pending = kept if pending is None else both(pending, kept)
        yield UNITS * len(some)
    _answer(of, kinds.SUBACK, packet.pid, bytes(said), pending, batch)


def _some(
    of: Carrier,
    filters: Sequence[tuple[bytes, Options]],
    number: int,
    batch: retaining.Batch,
) -> tuple[bytes, Pending | None]:
    """The reason code of each filter, and what must be stored before the answer. Raises Broken."""
    codes = [_judge(of, named, options) for named, options in filters]
    wanted = {
        named: Grant(options.qos, options.no_local, options.retain_as_published, number)
        for (named, options), code in zip(filters, codes, strict=True) if code < _FAILED_V311
    }  # fmt: skip
    pending: Pending | None = None
    mine = of.mine
    assert mine is not None
    if wanted:
        before = {named for named in wanted if named in mine.grants}
        try:
            pending = mine.subscribe(list(wanted.items()))
        except LogstoreError as error:
            failed = reasons.QUOTA if isinstance(error, TooManySubscriptions) else None
            if failed is None:
                failed = reasons.UNSPECIFIED
            codes = [it if it >= _FAILED_V311 else failed for it in codes]
        else:
            handling = {named: options.retain_handling for named, options in filters}
            kept = retaining.begin(of, batch, [
                (named, grant, handling[named], named not in before)
                for named, grant in wanted.items() if not named.startswith(SHARE)
            ])  # fmt: skip
            if kept is not None:
                pending = kept if pending is None else both(pending, kept)
    return bytes(codes), pending


def _judge(of: Carrier, named: bytes, options: Options) -> int:
    """The reason code of one filter. Raises Broken."""
    assert of.permits is not None
    try:
        found = shared(named)
        check_filter(named if found is None else found.filter)
    except NotText as error:
        raise malformed(str(error)) from None
    except InvalidFilter:
        return reasons.BAD_FILTER
    if found is not None and options.no_local:  # [MQTT-3.8.3-4]
        raise not_allowed("a shared subscription asks for No Local")
    if not of.permits.may_subscribe(named):
        return reasons.NOT_AUTHORIZED
    return options.qos


def unsubscribing(of: Carrier, packet: Unsubscribe) -> Steps:
    said = bytearray()
    pending: Pending | None = None
    for some in parts(packet.filters, FILTERS_AT_ONCE):
        if of.phase is not Phase.RUNNING or of.mine is None:
            return
        had, kept = of.mine.unsubscribe(some)
        said += bytes(reasons.SUCCESS if it else reasons.NO_SUBSCRIPTION for it in had)
        if kept is not None:
            pending = kept if pending is None else both(pending, kept)
        yield UNITS * len(some)
    _answer(of, kinds.UNSUBACK, packet.pid, bytes(said) if of.version == V5 else b"", pending)


def _answer(
    of: Carrier,
    kind: int,
    pid: int,
    codes: bytes,
    pending: Pending | None,
    batch: retaining.Batch | None = None,
) -> None:
    """Answer once the change is stored; a change that cannot be stored has no effect."""
    version = of.version

    def said(error: LogstoreError | None) -> bytes:
        codes_ = codes
        if batch is not None:
            batch.open = True
        if error is not None:
            if batch is not None:
                batch.ways.clear()
            codes_ = bytes(max(it, reasons.UNSPECIFIED) for it in codes)
        if version < V5:
            codes_ = bytes(min(it, _FAILED_V311) for it in codes_)
        return packets.write(Answers(kind, pid, codes_), version)

    of.owed.add(pending, of.link.wake, said)
    of.answer()
    of.link.wake()


def reviewing(of: Carrier) -> Steps:
    """Apply changed rules: end subscriptions that the client may no longer have."""
    mine, permits = of.mine, of.permits
    if mine is None or permits is None:
        return
    gone: list[bytes] = []
    for some in parts([named for named, _ in mine.grants], FILTERS_AT_ONCE):
        gone += [it for it in some if it in mine.grants and not permits.may_subscribe(it)]
        yield UNITS * len(some)
    if not gone or mine.ended or of.mine is not mine:
        return
    mine.unsubscribe(gone, forbidden=True)
    # No packet takes a subscription back: the client has to find out by subscribing again.
    of.fail(Broken(reasons.NOT_AUTHORIZED, f"it may no longer subscribe to {gone[0]!r}"))
    of.link.wake()
