"""Records of the journal about transactions: written, read, and refused where they are damaged."""

from contextlib import suppress

import pytest
from clock import NOW_MS
from hypothesis import given
from hypothesis import strategies as st
from transaction_parts import ABORT, COMMIT, OTHER_TOPIC, TOPIC, Pids, an_id, no_pid

from logstore.broker.packed import NUMBER_MAX, packed
from logstore.broker.transactions import operations
from logstore.broker.transactions.operations import (
    Decision,
    Offset,
    Offsets,
    Part,
    Place,
    abandoned,
    decided_key,
    decision_of,
    decode_decision,
    decode_dropped,
    decode_known,
    decode_offsets,
    decode_staged,
    dropped_key,
    encode_decision,
    encode_dropped,
    encode_known,
    encode_offsets,
    encode_staged,
    known_key,
    name_of,
    overtaken_key,
    pid_of,
    staged_key,
)
from logstore.broker.transactions.state import Outcome, State
from logstore.broker.transactions.transactional_id import EPOCH_MAX, EXHAUSTED, TV1, TV2, Producer
from logstore.errors import CorruptStore, SchemaTooNew

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
topics = st.binary(min_size=16, max_size=16)
numbers = st.one_of(st.integers(0, 300), st.integers(0, NUMBER_MAX))
partitions = st.one_of(st.integers(0, 3), st.integers(0, 2**31 - 1))
pids = st.one_of(st.integers(0, 9), st.integers(0, 2**63 - 1))
epochs = st.integers(0, EXHAUSTED)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
offsets = st.lists(
    st.builds(Offset, topics, partitions, numbers, st.integers(-1, 2**31 - 1), texts),
    min_size=1,
    max_size=4,
    unique_by=lambda it: it[:2],
).map(tuple)
ids = st.builds(
    an_id,
    name=names,
    pid=pids,
    epoch=epochs,
    last_epoch=st.integers(-1, EXHAUSTED),
    previous_pid=st.one_of(st.just(-1), pids),
    timeout_ms=st.integers(1, 2**31 - 1),
    since_ms=st.integers(0, 2**62),
    version=st.sampled_from([0, TV1, TV2]),
)
parts = st.lists(st.builds(Part, topics, partitions, numbers), max_size=4).map(tuple)


@st.composite
def decisions(draw):
    pid, epoch, version = draw(pids), draw(epochs), draw(st.sampled_from([TV1, TV2]))
    next_pid, next_epoch = pid, epoch
    if version == TV2 and draw(st.booleans()):
        epoch, next_pid, next_epoch = EPOCH_MAX, draw(pids), 0
    outcome = draw(st.sampled_from(Outcome))
    at_ms = draw(st.integers(0, 2**62))
    return Decision(pid, epoch, outcome, version, next_pid, next_epoch, at_ms, draw(parts))


@given(ids)
def test_an_id_is_read_as_it_was_written(it):
    assert decode_known(encode_known(it), it.name, "it") == it


@given(st.builds(Offsets, epochs, numbers, names, offsets))
def test_staged_offsets_are_read_as_they_were_written(staged):
    assert decode_staged(encode_staged(staged), "they") == staged
    assert decode_offsets(encode_offsets(staged.offsets), "they") == staged.offsets


@given(decisions())
def test_a_decision_is_read_as_it_was_written(it):
    assert decode_decision(encode_decision(it), it.pid, "it") == it


@given(st.lists(st.builds(Place, topics, st.one_of(st.none(), partitions))).map(tuple))
def test_places_are_read_as_they_were_written(places):
    assert decode_dropped(encode_dropped(places), "they") == places


@given(names, pids)
def test_keys_are_read_as_they_were_written(name, pid):
    assert {name_of(it(name)) for it in (known_key, overtaken_key, dropped_key)} == {name}
    assert {pid_of(it(pid)) for it in (staged_key, decided_key)} == {pid}


def test_letters_are_none_that_the_journal_has_for_others():
    assert {b"T", b"P", b"O", b"F", b"D"} == operations.LETTERS
    assert not operations.LETTERS & {b"Q", b"H", b"I", b"M", b"G"}


def test_the_bytes_of_records():
    """What is on disk stays readable."""
    known = an_id(pid=2, epoch=3, last_epoch=2, previous_pid=1, version=TV2, since_ms=6)
    assert encode_known(known).hex() == (
        "0000000000000002" "0003" "0002" "0000000000000001" "0000ea60" "02" "0000000000000006"
    )  # fmt: skip
    offset = Offset(TOPIC, 1, 300, 4, "hi")
    assert encode_offsets([offset]).hex() == TOPIC.hex() + "01ac0205026869"
    staged = Offsets(3, 5, "g", (Offset(TOPIC, 0, 0),))
    assert encode_staged(staged).hex() == "03050167" + TOPIC.hex() + "00000000"
    decision = Decision(2, 3, COMMIT, TV1, 2, 3, 6, (Part(TOPIC, 1, 300),))
    assert encode_decision(decision).hex() == (
        "0003" "01" "01" "0000000000000002" "0003" "0000000000000006" + TOPIC.hex() + "01" "ac02"
    )  # fmt: skip
    assert encode_dropped([Place(TOPIC), Place(OTHER_TOPIC, 1)]).hex() == (
        TOPIC.hex() + "00" + OTHER_TOPIC.hex() + "02"
    )
    assert (known_key("x"), staged_key(2), decided_key(300)) == (b"Tx", b"P\x02", b"D\xac\x02")
    assert (overtaken_key("g"), dropped_key("g"), dropped_key()) == (b"Og", b"Fg", b"F")


def test_an_id_without_a_producer_is_expired():
    assert decode_known(b"", "copier", "it") is None


def test_decisions_of_both_versions():
    plain = an_id(State.ONGOING).ended(Producer(7, 5), COMMIT, TV1, no_pid, NOW_MS + 9)
    assert decision_of(plain) == Decision(7, 5, COMMIT, TV1, 7, 5, NOW_MS + 9)
    assert decision_of(plain).producer_epoch == 5
    part = Part(TOPIC, 0, 10)
    raised = an_id(State.ONGOING).ended(Producer(7, 5), ABORT, TV2, no_pid, NOW_MS + 9)
    assert decision_of(raised, [part]) == Decision(7, 6, ABORT, TV2, 7, 6, NOW_MS + 9, (part,))
    assert decision_of(raised).producer_epoch == 5
    last = an_id(State.ONGOING, epoch=EXHAUSTED)
    rotated = last.ended(Producer(7, EXHAUSTED), COMMIT, TV2, Pids(), NOW_MS + 9)
    assert decision_of(rotated) == Decision(7, EPOCH_MAX, COMMIT, TV2, 1000, 0, NOW_MS + 9)


def test_what_nobody_has_any_more_is_aborted_in_its_own_epoch():
    it = abandoned(7, 3, NOW_MS, [Part(TOPIC, 0, 10)])
    assert (it.outcome, it.epoch, it.producer_epoch) == (ABORT, 3, 3)
    assert (it.next_pid, it.next_epoch) == (7, 3)


ID = encode_known(an_id())
DECISION = encode_decision(decision_of(an_id(State.PREPARE_COMMIT, version=TV2)))
OFFSET = encode_offsets([Offset(TOPIC, 0, 10)])
HEAD = encode_staged(Offsets(5, NOW_MS, "g", ()))
DAMAGED = [
    *[(decode_known, (ID[:n], "copier")) for n in (1, 10, len(ID) - 1)],
    (decode_known, (ID + b"\0", "copier")),
    (decode_known, (b"\xff" + ID[1:], "copier")),  # the producer id
    (decode_known, (ID[:8] + b"\x7f\xff" + ID[10:], "copier")),  # the epoch
    (decode_known, (ID[:24] + b"\x03" + ID[25:], "copier")),  # the version
    (decode_known, (ID[:20] + bytes(4) + ID[24:], "copier")),  # the timeout
    *[(decode_decision, (DECISION[:n], 7)) for n in (0, 5, len(DECISION) - 1)],
    (decode_decision, (DECISION[:2] + b"\x02" + DECISION[3:], 7)),  # the outcome
    (decode_decision, (DECISION[:3] + b"\x00" + DECISION[4:], 7)),  # the version
    (decode_decision, (DECISION, 8)),  # which is not the one after it
    (decode_decision, (DECISION + TOPIC, 7)),
    (decode_decision, (DECISION + TOPIC + packed(2**31) + b"\0", 7)),
    *[(decode_offsets, (OFFSET[:n],)) for n in (0, 15, 17, len(OFFSET) - 1)],
    (decode_offsets, (OFFSET + OFFSET,)),
    (decode_offsets, (TOPIC + b"\0\0" + packed(2**31 + 1) + b"\0",)),
    (decode_offsets, (TOPIC + b"\0\0\0\x01\xff",)),
    (decode_offsets, (TOPIC + packed(2**31) + b"\0\0\0",)),
    (decode_staged, (HEAD,)),
    (decode_staged, (packed(EXHAUSTED + 1) + HEAD[1:] + OFFSET,)),
    (decode_staged, (HEAD[:-2] + b"\0" + OFFSET,)),
    (decode_dropped, (TOPIC,)),
    (decode_dropped, (TOPIC[:3],)),
    (decode_dropped, (TOPIC + packed(2**31 + 1),)),
]


@pytest.mark.parametrize(("decode", "given"), DAMAGED)
def test_what_is_damaged_is_told_with_what_it_is(decode, given):
    with pytest.raises(CorruptStore, match=r"^producer 7 .*: restore the store from a backup$"):
        decode(*given, "producer 7")


@pytest.mark.parametrize("key", [b"T", b"O", b"T\xff", b"F\xff"])
def test_names_in_keys_that_are_none(key):
    with pytest.raises(CorruptStore, match="the key"):
        name_of(key)


@pytest.mark.parametrize("key", [b"P", b"D\x80", b"D\x01\x02"])
def test_numbers_in_keys_that_are_none(key):
    with pytest.raises(CorruptStore, match="the key"):
        pid_of(key)


def test_a_key_of_a_later_version_is_told():
    with pytest.raises(SchemaTooNew, match="Zx"):
        raise operations.unknown(b"Zx")


@given(
    st.one_of(
        st.binary(max_size=60),
        st.sampled_from([ID, DECISION, OFFSET, HEAD + OFFSET]).flatmap(
            lambda it: st.tuples(
                st.integers(0, len(it) - 1), st.integers(0, 255), st.integers(0, len(it))
            ).map(lambda how: (it[: how[0]] + bytes((how[1],)) + it[how[0] + 1 :])[: how[2]])
        ),
    )
)
def test_any_bytes_are_read_or_told_to_be_damaged(value):
    for decode in (decode_offsets, decode_staged, decode_dropped):
        with suppress(CorruptStore, SchemaTooNew):
            decode(value, "it")
    with suppress(CorruptStore, SchemaTooNew):
        decode_known(value, "copier", "it")
    with suppress(CorruptStore, SchemaTooNew):
        decode_decision(value, 7, "it")
    for read in (name_of, pid_of):
        with suppress(CorruptStore):
            read(b"T" + value)
