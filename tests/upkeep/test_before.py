"""What a backup makes of the journal's decisions that came after it began."""

from clock import NOW_MS

from logstore.broker.transactions.operations import (
    Decision,
    Offset,
    Offsets,
    Part,
    decided_key,
    decode_decision,
    encode_decision,
    encode_staged,
    staged_key,
)
from logstore.broker.transactions.state import Outcome
from logstore.broker.transactions.transactional_id import TV1
from logstore.records.decode import decode
from logstore.records.encode import encode
from logstore.upkeep.before import Before

TOPIC_ID = bytes(range(16))


class NoDirectory:
    """Without a journal."""

    def entries(self):
        return []


def decision(pid, outcome):
    it = Decision(pid, 3, outcome, TV1, pid, 3, NOW_MS, (Part(TOPIC_ID, 0, 7),))
    return encode_decision(it), decided_key(pid), (), NOW_MS


def staged(pid):
    it = Offsets(3, NOW_MS, "g", (Offset(TOPIC_ID, 0, 5),))
    return encode_staged(it), staged_key(pid), (), NOW_MS


def before(upto):
    it = Before(NoDirectory())
    it._upto = upto
    return it


def outcomes(batch):
    return [
        decode_decision(it.value, it.key[1], "it").outcome
        for it in decode(batch)
        if it.key[:1] == b"D"
    ]


def test_later_ones_are_aborted_and_nothing_else_changes():
    rows = [
        decision(1, Outcome.COMMIT), staged(2), decision(2, Outcome.COMMIT),
        decision(3, Outcome.ABORT), staged(4), decision(4, Outcome.COMMIT),
    ]  # fmt: skip
    batch = encode(rows, base_offset=100)
    changed = before(102).aborted(batch)
    changed.check()
    assert outcomes(changed) == [Outcome.COMMIT, Outcome.ABORT, Outcome.ABORT, Outcome.ABORT]
    assert changed.size == batch.size
    for was, now in zip(decode(batch), decode(changed), strict=True):
        assert (now.offset, now.key, now.timestamp_ms) == (was.offset, was.key, was.timestamp_ms)
        differ = [at for at, (x, y) in enumerate(zip(was.value, now.value, strict=True)) if x != y]
        assert differ == ([2] if was.offset in (102, 105) else [])


def test_what_was_there_stays_as_it_is():
    batch = encode([decision(1, Outcome.COMMIT), staged(1)], base_offset=10)
    assert before(12).aborted(batch) is batch
    batch = encode([staged(1), staged(2)], base_offset=10)
    assert before(0).aborted(batch) is batch
