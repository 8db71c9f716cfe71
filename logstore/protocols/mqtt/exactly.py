"""QoS 2, both ways: PUBLISH, PUBREC, PUBREL, PUBCOMP, each safe before the next is sent (4.3.3)."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from logstore.broker.mqtt.message import Message
from logstore.broker.queues.pending import Waiting
from logstore.broker.queues.transaction import Transaction
from logstore.errors import LogstoreError
from logstore.mqtt import kinds, packets, reasons, writing
from logstore.mqtt.reading import Run
from logstore.mqtt.reasons import Broken, not_allowed
from logstore.protocols.mqtt import answers
from logstore.protocols.mqtt.carrier import Carrier

ERRORS: Final = 0x80  # reason codes from here on


def publish(of: Carrier, run: Run, messages: Sequence[Message], refused: dict[int, int]) -> None:
    """Messages of QoS 2; those that have come before are not taken again, whatever their DUP says
    [MQTT-4.3.3-10].
    """
    assert of.mine is not None
    assert run.pids is not None
    arrivals = of.mine.arrivals
    begin = 0
    seen: set[int] = set()
    # The run is parted where a message comes again, so that all are acknowledged in their order.
    for n, pid in enumerate(run.pids):
        if pid in arrivals or pid in seen:
            _take(of, run, messages, refused, range(begin, n))
            _again(of, pid)
            begin = n + 1
        else:
            seen.add(pid)
    _take(of, run, messages, refused, range(begin, len(run.pids)))


def _again(of: Carrier, pid: int) -> None:
    assert of.mine is not None
    of.door.counts.repeated += 1
    waiting = of.mine.arrivals.again(pid)
    said = answers.saying(of, kinds.PUBREC, [pid], {}, {})
    of.owed.add_run(waiting, 1, of.link.wake, said)


def _take(
    of: Carrier,
    run: Run,
    messages: Sequence[Message],
    refused: Mapping[int, int],
    numbers: range,
) -> None:
    """The messages of the run with these numbers, which are new."""
    if not numbers:
        return
    assert of.mine is not None
    assert run.pids is not None
    good = [n for n in numbers if n not in refused]
    waiting: Waiting | None = None
    nobody: dict[int, int] = {}
    if good:
        waiting, nobody = _give(of, [messages[n] for n in good], [run.pids[n] for n in good], good)
    begin = numbers.start
    said = answers.saying(
        of,
        kinds.PUBREC,
        run.pids[begin : numbers.stop],
        {n - begin: refused[n] for n in numbers if n in refused},
        {n - begin: it for n, it in nobody.items()},
    )
    of.owed.add_run(waiting, len(numbers), of.link.wake, said)


def _give(
    of: Carrier, messages: Sequence[Message], pids: Sequence[int], numbers: Sequence[int]
) -> tuple[Waiting | None, dict[int, int]]:
    """Publish them with their packet identifiers; what is waited for, and which reach nobody."""
    model, mine = of.door.model, of.mine
    assert model is not None
    assert mine is not None
    of.look_at_disk()
    held = Transaction()
    published = model.publish(messages, held)
    if published.waiting is not None and published.waiting.failed is not None:
        held.forget()
        return published.waiting, {}
    if published.matched is not None:
        of.door.counts.unmatched += published.matched.count(0)
    nobody = answers.unmatched(of, published.matched, numbers)
    return mine.arrivals.take(pids, held), nobody


# What follows


def released(of: Carrier, packet: packets.Ack) -> None:
    """PUBREL: the client does not send it again."""
    assert of.mine is not None
    waiting, unknown = of.mine.arrivals.release([packet.pid])
    of.door.counts.unknown_packets += len(unknown)
    reason = reasons.PACKET_ID_NOT_FOUND if unknown else reasons.SUCCESS
    of.owed.add_run(waiting, 0, of.link.wake, partial(_complete, of, packet.pid, reason))


def _complete(of: Carrier, pid: int, reason: int, error: LogstoreError | None) -> bytes:
    if error is None:
        return writing.ack(kinds.PUBCOMP, pid, reason, of.version)
    # No code of a PUBCOMP says so: the client asks again when it is back.
    of.fail(Broken(reasons.UNSPECIFIED, f"what it has released can't be kept: {error}"))
    return b""


def received(of: Carrier, packet: packets.Ack) -> None:
    """PUBREC: the client has it, or does not want it. Raises Broken."""
    assert of.mine is not None
    pid, out = packet.pid, of.mine.out
    if out.exact is None or pid not in out.exact:
        if pid in out.pids:
            raise not_allowed("a PUBREC of a message of QoS 1")
        _unknown(of, pid)
    elif packet.reason >= ERRORS:
        if not of.mine.exact.refused(pid):  # it has said before that it has it
            _unknown(of, pid)
    else:
        for it in of.mine.exact.received([pid]):
            _unknown(of, it)


def _unknown(of: Carrier, pid: int) -> None:
    of.door.counts.unknown_packets += 1
    of.put(writing.ack(kinds.PUBREL, pid, reasons.PACKET_ID_NOT_FOUND, of.version))


def completed(of: Carrier, packet: packets.Ack) -> None:
    """PUBCOMP: the client has forgotten it."""
    assert of.mine is not None
    unknown = 1 if of.mine.out.exact is None else of.mine.exact.completed([packet.pid])
    of.door.counts.unknown_packets += unknown


ANSWERS: Final[dict[int, Callable[[Carrier, packets.Ack], None]]] = {
    kinds.PUBREL: released,
    kinds.PUBREC: received,
    kinds.PUBCOMP: completed,
}
