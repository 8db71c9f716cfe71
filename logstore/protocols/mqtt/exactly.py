"""QoS 2, both ways: PUBLISH, PUBREC, PUBREL, PUBCOMP, each safe before the next is sent (4.3.3)."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from logstore.broker.mqtt.message import Message
from logstore.broker.queues.pending import Waiting
from logstore.broker.queues.transaction import Transaction
from logstore.errors import LogstoreError
from logstore.mqtt import kinds, packets, reasons, writing
from logstore.mqtt.kinds import V5
from logstore.mqtt.reading import Run
from logstore.mqtt.reasons import Broken, not_allowed
from logstore.protocols.mqtt import answers
from logstore.protocols.mqtt.carrier import Carrier

ERRORS: Final = 0x80  # reason codes from here on


def publish(of: Carrier, run: Run, messages: Sequence[Message], refused: dict[int, int]) -> None:
    """Publish messages of QoS 2, each once, whatever its DUP flag [MQTT-4.3.3-10]."""
    assert of.mine is not None
    assert run.pids is not None
    arrivals = of.mine.arrivals
    if arrivals.are_new(run.pids):
        _take(of, run, messages, refused, range(len(run.pids)))
        return
    begin = 0
    seen: set[int] = set()
    # The run is split at a repeated message, so that all are acknowledged in order.
    for n, pid in enumerate(run.pids):
        if pid in seen:  # whether it was taken is known then
            _take(of, run, messages, refused, range(begin, n))
            begin = n
            seen.clear()
        if pid in arrivals:
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
    of.owed.add_run(waiting, 1, of.link.wake, said, counted=False)


def _take(
    of: Carrier,
    run: Run,
    messages: Sequence[Message],
    refused: Mapping[int, int],
    numbers: range,
) -> None:
    """Publish the new messages of the run, which have these numbers."""
    if not numbers:
        return
    assert of.mine is not None
    assert run.pids is not None
    waiting: Waiting | None = None
    nobody: dict[int, int] = {}
    begin = numbers.start
    if refused or len(numbers) < len(messages):
        good = [n for n in numbers if n not in refused]
        those, pids = [messages[n] for n in good], [run.pids[n] for n in good]
        if good:
            waiting, nobody = _give(of, those, pids, good)
    else:
        waiting, nobody = _give(of, messages, run.pids, numbers)
    said = answers.saying(
        of,
        kinds.PUBREC,
        run.pids[begin : numbers.stop],
        {n - begin: refused[n] for n in numbers if n in refused},
        {n - begin: it for n, it in nobody.items()},
    )
    of.owed.add_run(waiting, len(numbers), of.link.wake, said, counted=False)


def _give(
    of: Carrier, messages: Sequence[Message], pids: Sequence[int], numbers: Sequence[int]
) -> tuple[Waiting | None, dict[int, int]]:
    """Publish messages with their packet ids; returns what to wait for, and the unmatched ones."""
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


def released(of: Carrier, pids: Sequence[int]) -> None:
    """Process PUBRELs: the client sends these messages no more."""
    assert of.mine is not None
    for those, waiting, known in of.mine.arrivals.release(pids):
        if not known:
            of.door.counts.unknown_packets += len(those)
        said = partial(_complete, of, those, known)
        of.owed.add_run(waiting, len(those), of.link.wake, said, counted=False)


def _complete(of: Carrier, pids: Sequence[int], known: bool, error: LogstoreError | None) -> bytes:
    if error is None:
        if known or of.version < V5:
            return writing.acks(kinds.PUBCOMP, pids)
        return b"".join(
            writing.ack(kinds.PUBCOMP, it, reasons.PACKET_ID_NOT_FOUND, of.version) for it in pids
        )
    # No code of a PUBCOMP says so: the client asks again when it is back.
    of.fail(Broken(reasons.UNSPECIFIED, f"its released messages can't be stored: {error}"))
    return b""


def received(of: Carrier, pids: Sequence[int]) -> None:
    """Process PUBRECs: the client has these messages. Raises Broken."""
    assert of.mine is not None
    exact = of.mine.out.exact
    unknown = pids if exact is None else of.mine.exact.received(pids)
    if not unknown:
        return
    if any(it in of.mine.out.pids and (exact is None or it not in exact) for it in unknown):
        raise not_allowed("a PUBREC of a message of QoS 1")
    _unknown(of, unknown)


def _refused(of: Carrier, pid: int) -> None:
    """Process a PUBREC with an error: the client refuses the message. Raises Broken."""
    assert of.mine is not None
    exact = of.mine.out.exact
    if exact is None or pid not in exact:
        received(of, (pid,))
    elif not of.mine.exact.refused(pid):  # it has acknowledged the message before
        _unknown(of, (pid,))


def _unknown(of: Carrier, pids: Sequence[int]) -> None:
    of.door.counts.unknown_packets += len(pids)
    for pid in pids:
        of.put(writing.ack(kinds.PUBREL, pid, reasons.PACKET_ID_NOT_FOUND, of.version))


def completed(of: Carrier, pids: Sequence[int]) -> None:
    """Process PUBCOMPs: the client has forgotten these packet ids."""
    assert of.mine is not None
    exact = of.mine.out.exact
    of.door.counts.unknown_packets += (
        len(pids) if exact is None else of.mine.exact.completed(pids)
    )  # fmt: skip


def answer(of: Carrier, kind: int, packet: packets.Ack) -> None:
    """Process one acknowledgement, perhaps with a reason code. Raises Broken."""
    if kind == kinds.PUBREC and packet.reason >= ERRORS:
        _refused(of, packet.pid)
    else:
        ANSWERS[kind](of, (packet.pid,))


ANSWERS: Final[dict[int, Callable[[Carrier, Sequence[int]], None]]] = {
    kinds.PUBREL: released,
    kinds.PUBREC: received,
    kinds.PUBCOMP: completed,
}
