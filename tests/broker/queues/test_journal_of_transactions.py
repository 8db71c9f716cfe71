"""What the journal keeps of transactions of topics, over a real log: the same however it is opened
again.
"""

from dataclasses import replace

import pytest
import storage_kit
from clock import NOW_MS
from transaction_parts import COMMIT, TOPIC, an_id, no_pid

from logstore.broker.queues.journal import OF_TRANSACTIONS, SettlementNotes, queue_key
from logstore.broker.queues.settled import Settled
from logstore.broker.transactions import operations
from logstore.broker.transactions.operations import Offset, Offsets, Part, decision_of
from logstore.broker.transactions.staged import Committed
from logstore.broker.transactions.transactional_id import TV2
from logstore.records.encode import encode
from logstore.storage.kinds import JOURNAL, KINDS

WITH_NOTES = {**KINDS, "journal": replace(JOURNAL, notes=SettlementNotes)}
OFFSET = Offset(TOPIC, 0, 5)


@pytest.fixture
def store(tmp_path):
    opened = storage_kit.Opened(tmp_path / "store")
    yield opened
    opened.close_all()


@pytest.fixture
def journal(store):
    directory = store.writer(kinds=WITH_NOTES)
    return directory.log("settled", directory.create("journal", "settled", 1, {}), 0)


def again(store, *, crashes):
    (store.crash if crashes else store.close)()
    directory = store.writer(kinds=WITH_NOTES)
    [(_, entry)] = [it for it in directory.entries() if it[1].kind == "journal"]
    return directory.log("settled", entry, 0)


def tell(log, *records):
    """One turn; where its first record stands."""
    at = log.append(encode([(value, key, (), NOW_MS) for key, value in records]))
    log.wait(at + len(records))
    return at


def a_commit(log):
    """Of one producer, with an offset; the place of the decision."""
    it = an_id()
    staged = Offsets(it.epoch, NOW_MS, "g", (OFFSET,))
    begun = it.added(it.producer, NOW_MS)
    ended = begun.ended(it.producer, COMMIT, TV2, no_pid, NOW_MS)
    settled = Settled()
    settled.settle(0, 0, 3)
    at = tell(
        log,
        (operations.known_key(it.name), operations.encode_known(it)),
        (queue_key(7), settled.encode()),
        (operations.staged_key(it.pid), operations.encode_staged(staged)),
        (
            operations.decided_key(it.pid),
            operations.encode_decision(decision_of(ended, [Part(TOPIC, 0, 10)])),
        ),
    )
    return at + 3


def test_the_letters_are_those_of_the_operations():
    assert {it[:1] for it in OF_TRANSACTIONS} == operations.LETTERS


@pytest.mark.parametrize("crashes", [False, True])
@pytest.mark.parametrize("secured", [False, True])
def test_all_of_it_is_known_however_it_is_opened(store, journal, crashes, secured):
    place = a_commit(journal)
    if secured:
        journal.secure()
    before = journal.notes.transactions()
    assert before.unfinished() == [place]
    assert before.committed() == [(place, Committed("g", (OFFSET,)))]
    log = again(store, crashes=crashes)
    found = log.notes.transactions()
    assert found.encode() == before.encode()
    assert found.committed() == before.committed()
    assert log.notes.state(7).lanes[0].cursor == 3


@pytest.mark.parametrize("crashes", [False, True])
def test_the_journal_keeps_what_is_decided_until_that_is_everywhere(store, journal, crashes):
    place = a_commit(journal)
    end = journal.end
    assert journal.notes.needed_from(end) == place
    journal.secure()
    log = again(store, crashes=crashes)
    assert log.notes.needed_from(end) == place
    log.notes.ended(place)
    assert log.notes.needed_from(end) == end
    log.secure()
    log = again(store, crashes=crashes)
    assert log.notes.needed_from(end) == end
    assert log.notes.transactions().unfinished() == []
    assert log.notes.transactions().committed() == []


def test_a_decision_may_be_everywhere_before_its_record_is_read(journal):
    place = journal.end + 3
    journal.notes.ended(place)
    assert a_commit(journal) == place
    assert journal.notes.needed_from(journal.end) == journal.end
    assert journal.notes.transactions().unfinished() == []
    assert journal.notes.transactions().committed() == []


def test_what_was_given_is_a_copy(journal):
    a_commit(journal)
    found = journal.notes.transactions()
    found.finish(found.unfinished()[0])
    assert journal.notes.transactions().unfinished() != []
