import pytest
from clock import Clock
from hypothesis import given
from hypothesis import strategies as st

from logstore.broker import ledger as module
from logstore.broker.ledger import BATCHES_KEPT, Ledger
from logstore.errors import CorruptStore, FencedProducer, OfEndedTransaction, OutOfSequence
from logstore.log import Aborted
from logstore.records.batch import NUMBERED_PRODUCER
from logstore.records.control import ABORT, COMMIT, marker
from logstore.records.encode import encode

EXPIRATION_MS = 1000


@pytest.fixture
def ledger(clock):
    return Ledger(clock, EXPIRATION_MS)


def batch(sequence, count=1, producer=1, epoch=0):
    messages = [(b"x", None, (), 5)] * count
    return encode(messages, producer_id=producer, producer_epoch=epoch, base_sequence=sequence)


def add(ledger, sequence, offset, **facts):
    it = batch(sequence, **facts)
    assert ledger.check(it) is None
    ledger.appended(it, offset)


def test_the_next_batch_is_taken_a_later_one_is_not(ledger):
    add(ledger, 0, 100, count=3)
    add(ledger, 3, 200)
    with pytest.raises(OutOfSequence, match="sequence 6 came, expected 4"):
        ledger.check(batch(6))


def test_the_last_batches_are_known_by_their_offsets(ledger):
    for n in range(8):
        add(ledger, n, 10 * n)
    for n in range(8 - BATCHES_KEPT, 8):
        assert ledger.check(batch(n)) == 10 * n
    with pytest.raises(OutOfSequence):
        ledger.check(batch(8 - BATCHES_KEPT - 1))


def test_a_part_of_a_known_batch_is_no_duplicate(ledger):
    add(ledger, 0, 0, count=5)
    with pytest.raises(OutOfSequence):
        ledger.check(batch(0, count=4))


def test_an_unknown_producer_may_begin_anywhere(ledger):
    add(ledger, 77, 0)
    with pytest.raises(OutOfSequence):
        ledger.check(batch(0))


def test_a_new_epoch_begins_at_0_and_fences(ledger):
    add(ledger, 0, 0, epoch=3)
    with pytest.raises(OutOfSequence, match="epoch 4 is new and begins with sequence 1"):
        ledger.check(batch(1, epoch=4))
    add(ledger, 0, 1, epoch=4)
    with pytest.raises(FencedProducer):
        ledger.check(batch(1, epoch=3))
    assert ledger.check(batch(0, epoch=4)) == 1


def test_producers_are_forgotten_after_a_while(ledger, clock):
    add(ledger, 0, 0)
    clock.ms += EXPIRATION_MS - 1
    assert ledger.check(batch(0)) == 0
    clock.ms += 1
    assert ledger.check(batch(55)) is None
    assert list(ledger.producers()) == []
    assert Ledger.freeze(ledger)() == b""


def test_the_one_not_heard_of_for_longest_is_forgotten_first(ledger, monkeypatch):
    monkeypatch.setattr(module, "PRODUCERS_MAX", 3)
    for n in range(3):
        add(ledger, 0, n, producer=n)
    add(ledger, 1, 3, producer=0)
    add(ledger, 0, 4, producer=9)
    assert [producer for producer, _ in ledger.producers()] == [2, 0, 9]


def test_a_batch_that_was_told_of_before_changes_nothing(ledger):
    it = batch(0)
    ledger.appended(it, 10)
    ledger.appended(it, 10)
    assert [known.sent for _, known in ledger.producers()] == [(module.Sent(0, 0, 10),)]


def test_what_is_frozen_is_what_was_known_then(ledger, clock):
    add(ledger, 0, 0)
    frozen = ledger.freeze()
    add(ledger, 1, 1)
    add(ledger, 0, 2, producer=2)
    again = Ledger(clock, EXPIRATION_MS)
    again.load(frozen())
    assert again.check(batch(1)) is None
    assert ledger.freeze() is ledger.freeze()


def test_a_note_that_is_cut_off_is_told(ledger, clock):
    add(ledger, 0, 0)
    note = ledger.freeze()()
    with pytest.raises(CorruptStore):
        Ledger(clock, EXPIRATION_MS).load(note[:-1])


def test_the_last_that_a_held_transaction_brought_is_never_forgotten(ledger, clock, monkeypatch):
    monkeypatch.setattr(module, "PRODUCERS_MAX", 3)
    for number, count in ((4, 3), (9, 1)):
        ledger.appended(batch(number, count=count, producer=NUMBERED_PRODUCER, epoch=2), number)
    for n in range(5):
        add(ledger, 0, 20 + n, producer=n)
    clock.ms += 2 * EXPIRATION_MS
    again = Ledger(clock, EXPIRATION_MS)
    again.load(ledger.freeze()())
    assert ledger.numbered == again.numbered == (2, 9)
    assert list(again.producers()) == []  # it is no client's


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3), st.booleans()), max_size=60))
def test_a_note_holds_all_that_counts(steps):
    clock = Clock()
    ledger = Ledger(clock, EXPIRATION_MS)
    following, epochs, offset = {}, {}, 0
    for producer, count, new_epoch in steps:
        if new_epoch:
            epochs[producer], following[producer] = epochs.get(producer, 0) + 1, 0
        first = following.get(producer, 0)
        add(ledger, first, offset, count=count, producer=producer, epoch=epochs.get(producer, 0))
        following[producer], offset = first + count, offset + count
    again = Ledger(clock, EXPIRATION_MS)
    again.load(ledger.freeze()())
    mine = [(producer, it._replace(max_timestamp_ms=-1)) for producer, it in ledger.producers()]
    assert list(again.producers()) == mine


class TestTransactions:
    def batch(self, producer, sequence=0, epoch=0):
        return encode(
            [(b"x", None, (), 5)], producer_id=producer, producer_epoch=epoch,
            base_sequence=sequence, transactional=True,
        )  # fmt: skip

    def begin(self, ledger, producer, offset, sequence=0, epoch=0):
        it = self.batch(producer, sequence, epoch)
        assert ledger.check(it) is None
        assert ledger.appended(it, offset) is None

    def test_the_first_open_one_is_known(self, ledger):
        self.begin(ledger, 1, 10)
        self.begin(ledger, 2, 20)
        self.begin(ledger, 1, 30, sequence=1)
        assert (ledger.undecided, dict(ledger.open)) == (10, {1: 10, 2: 20})
        assert ledger.appended(marker(COMMIT, 1, 0, 0), 40) is None
        assert ledger.undecided == 20
        assert ledger.appended(marker(ABORT, 2, 0, 0), 50) == Aborted(2, 20, 50, 51)
        assert ledger.undecided is None

    def test_a_marker_is_no_batch_of_the_producer(self, ledger):
        self.begin(ledger, 1, 10)
        ledger.appended(marker(COMMIT, 1, 0, 0), 11)
        assert ledger.check(batch(0)) == 10
        assert ledger.check(batch(1)) is None

    @pytest.mark.parametrize("outcome", [ABORT, COMMIT])
    def test_what_has_the_numbers_of_a_transaction_that_has_ended_is_no_repeat(
        self, ledger, outcome
    ):
        self.begin(ledger, 1, 10)
        assert ledger.check(self.batch(1)) == 10
        ledger.appended(marker(outcome, 1, 0, 0), 11)
        for offset in (None, 12):
            if offset is not None:  # nor while the next one is open
                self.begin(ledger, 1, offset, sequence=1)
            with pytest.raises(OfEndedTransaction, match="sequence 0 is of a transaction"):
                ledger.check(self.batch(1))
        assert ledger.check(self.batch(1, 1)) == 12
        assert ledger.check(self.batch(1, 2)) is None

    def test_with_the_epoch_that_a_marker_raises_numbers_begin_anew(self, ledger):
        self.begin(ledger, 1, 10)
        ledger.appended(marker(COMMIT, 1, 1, 0), 11)
        with pytest.raises(FencedProducer):
            ledger.check(batch(1))
        with pytest.raises(OutOfSequence, match="expected 0"):
            ledger.check(batch(1, epoch=1))
        self.begin(ledger, 1, 12, epoch=1)
        assert dict(ledger.open) == {1: 12}

    def test_what_it_was_told_of_before_changes_nothing(self, ledger):
        for n in range(2):
            self.begin(ledger, 1, 10 + 2 * n, sequence=n)
            if n == 0:
                ledger.appended(marker(ABORT, 1, 0, 0), 11)
        assert ledger.appended(marker(ABORT, 1, 0, 0), 11) is None
        assert dict(ledger.open) == {1: 12}

    def test_it_is_kept_as_long_as_it_is_open(self, ledger, clock, monkeypatch):
        monkeypatch.setattr(module, "PRODUCERS_MAX", 2)
        self.begin(ledger, 1, 10)
        for producer in range(2, 9):
            add(ledger, 0, 10 * producer, producer=producer)
        clock.ms += 2 * EXPIRATION_MS
        again = Ledger(clock, EXPIRATION_MS)
        again.load(ledger.freeze()())
        assert (again.undecided, dict(again.open)) == (10, {1: 10})
        assert [it for it, _ in again.producers()] == [1]
        assert again.appended(marker(ABORT, 1, 0, 0), 90) == Aborted(1, 10, 90, 91)

    def test_an_unknown_type_of_control_batch_ends_nothing(self, ledger):
        self.begin(ledger, 1, 10)
        ledger.appended(marker(9, 1, 0, 0), 11)
        assert ledger.undecided == 10
