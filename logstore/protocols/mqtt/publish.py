"""Publishing by a client: runs of messages, sent to subscribers, acknowledged once they are safe.

A message that the client may not publish is dropped; with QoS 1 or 2, the acknowledgement says so.
Version 3.1.1 cannot express that, so its connection ends rather than acknowledging a message that
no one received.
"""

from collections.abc import Sequence
from itertools import repeat
from typing import Final

from logstore.broker.mqtt.message import NOTHING, About, Message
from logstore.mqtt import kinds, reasons
from logstore.mqtt.kinds import V5
from logstore.mqtt.reading import Run
from logstore.mqtt.reasons import Broken, not_allowed
from logstore.protocols.mqtt import answers, exactly
from logstore.protocols.mqtt.carrier import Carrier
from logstore.protocols.mqtt.connect import DOLLAR, RECEIVE_MAXIMUM

ALIAS_BYTES_MAX: Final = 8 << 20  # of the topics that one connection has aliases for
_ALIAS_BYTES: Final = 100  # of one beside its topic


def take(of: Carrier, run: Run) -> None:
    """Process messages of one QoS. Raises Broken."""
    if run.qos and of.version == V5:
        _check_unacknowledged(of, len(run.payloads))
    if run.properties is None and (of.version < V5 or all(run.topics)):
        _take(of, run, run.topics, None)
        return
    said = _Said(of)
    try:
        said.read(run)
    except Broken:
        done = len(said.topics)
        if done:  # earlier messages are published
            pids = None if run.pids is None else run.pids[:done]
            left = Run(run.first, said.topics, run.payloads[:done], pids, None)
            _take(of, left, said.topics, said.abouts)
        raise
    _take(of, run, said.topics, said.abouts)


def _check_unacknowledged(of: Carrier, count: int) -> None:
    """Check the receive maximum for this many more messages. Raises Broken."""
    assert of.mine is not None
    if of.owed.counted + of.mine.unreleased + count > RECEIVE_MAXIMUM:
        raise Broken(
            reasons.RECEIVE_MAXIMUM, f"over {RECEIVE_MAXIMUM} of its messages are unacknowledged"
        )


def _take(
    of: Carrier, run: Run, topics: Sequence[bytes], abouts: Sequence[About | None] | None
) -> None:
    """``topics``: with aliases replaced; ``abouts``: the stored properties of each message."""
    qos, count = run.qos, len(run.payloads)
    counts = of.door.counts
    counts.received[qos] += count
    of.door.totals.messages_in += count
    refused = _refused(of, topics)
    messages = list(map(
        Message, topics, run.payloads, repeat(qos), repeat(run.retain), abouts or repeat(None),
        repeat(of.mine),
    ))  # fmt: skip
    if refused:
        counts.refused += len(refused)
        if qos and of.version < V5 and reasons.NOT_AUTHORIZED in refused.values():
            raise Broken(reasons.NOT_AUTHORIZED, "it has published to a topic without the right to")
    if run.qos > 1:
        exactly.publish(of, run, messages, refused)
        return
    if refused:
        messages = [it for n, it in enumerate(messages) if n not in refused]
    _publish(of, run, messages, refused)


def _refused(of: Carrier, topics: Sequence[bytes]) -> dict[int, int]:
    """The reason codes of refused messages, by number."""
    permits = of.permits
    assert permits is not None
    may = permits.may_publish
    first = topics[0]
    distinct = {first} if topics.count(first) == len(topics) else set(topics)
    bad = {it for it in distinct if it.startswith(DOLLAR) or not may(it)}
    if not bad:
        return {}
    return {
        n: reasons.BAD_TOPIC if it.startswith(DOLLAR) else reasons.NOT_AUTHORIZED
        for n, it in enumerate(topics) if it in bad
    }  # fmt: skip


def _publish(of: Carrier, run: Run, messages: Sequence[Message], refused: dict[int, int]) -> None:
    """``messages``: the messages of the run that are not refused."""
    model, counts = of.door.model, of.door.counts
    assert model is not None
    of.look_at_disk()
    published = model.publish(messages) if messages else None
    matched = None if published is None else published.matched
    if matched is not None:
        counts.unmatched += matched.count(0)
    if run.pids is None:
        return
    waiting = None if published is None else published.waiting
    nobody = answers.unmatched(of, matched, [n for n in range(len(run.pids)) if n not in refused])
    said = answers.saying(of, kinds.PUBACK, run.pids, refused, nobody)
    of.owed.add_run(waiting, len(run.pids), of.link.wake, said)


# Properties


class _Said:
    """The decoded properties of some messages, as far as they could be decoded."""

    def __init__(self, of: Carrier) -> None:
        self.topics: list[bytes] = []
        self.abouts: list[About | None] = []
        self._of = of

    def read(self, run: Run) -> None:
        """Decode the properties of a run. Raises Broken; earlier messages are then decoded."""
        now_ms = self._of.door.clock()
        sections = repeat(b"") if run.properties is None else run.properties
        for topic, section in zip(run.topics, sections, strict=False):
            if section:
                self._one(topic, section, now_ms)
            elif topic:
                self.topics.append(topic)
                self.abouts.append(None)
            else:
                raise _no_topic()

    def _one(self, topic: bytes, section: bytes, now_ms: int) -> None:
        about, expiry_s, alias, ids = self._of.door.said(section)
        if ids:  # [MQTT-3.3.4-6]
            raise not_allowed("a PUBLISH of a client has a subscription identifier")
        if expiry_s is not None:
            about = (about or NOTHING)._replace(expires_at_ms=now_ms + 1000 * expiry_s)
        self.topics.append(_aliased(self._of, topic, alias) if alias or not topic else topic)
        self.abouts.append(about)


def _aliased(of: Carrier, topic: bytes, alias: int) -> bytes:
    """The topic of an alias, which this message may set (3.3.2.3.4). Raises Broken."""
    known = of.aliases
    if not topic:
        found = None if known is None else known.get(alias)
        if found is None:
            if alias:
                of.door.counts.unknown_aliases += 1
            raise _no_topic(alias)
        return found
    if known is None:
        known = of.aliases = {}
    before = known.get(alias)
    of.alias_bytes += len(topic) - len(before) if before is not None else len(topic) + _ALIAS_BYTES
    if of.alias_bytes > ALIAS_BYTES_MAX:
        raise Broken(reasons.QUOTA, f"its topic aliases take over {ALIAS_BYTES_MAX} bytes")
    known[alias] = topic
    return topic


def _no_topic(alias: int = 0) -> Broken:
    if alias:
        return not_allowed(
            f"a PUBLISH has the topic alias {alias}, which is not set on this connection"
        )
    return not_allowed("a PUBLISH has neither a topic nor an alias")
