"""FORMAT.md says what the code writes: schema, tables, layouts, files."""

import re
from dataclasses import fields
from pathlib import Path
from struct import Struct

import pytest

import logstore
from logstore.broker import ledger
from logstore.broker.deduplication import repeats, room
from logstore.broker.deduplication.ids import id_of
from logstore.broker.keys import elements, shapes
from logstore.broker.mqtt import record_headers
from logstore.broker.queues import (
    handovers,
    held,
    journal,
    message,
    settled,
    share_groups,
    state,
)  # fmt: skip
from logstore.broker.transactions import journaled, operations
from logstore.broker.transactions.state import IDLE, Outcome
from logstore.kept.groups import GROUP_KINDS, OffsetToCommit
from logstore.kept.queues import KeptVhost
from logstore.names import KEYS_TOPICS, RETAINED_TOPIC
from logstore.records import batch
from logstore.records.encode import encode
from logstore.settings import TopicSettings
from logstore.storage import catalog, groups, index, mqtt, names, offsets, queues

TEXT = Path(catalog.__file__).with_name("FORMAT.md").read_text()


def rows():
    """The table of the catalogue: name -> its rows, key and value."""
    section = TEXT[TEXT.index("## catalog.mdb") : TEXT.index("## Ids that")]
    found = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and cells[0] != "table":
            found.setdefault(cells[0], []).append(cells[1:])
    return found


def layouts(table):
    return [it for row in rows()[table] for it in re.findall(r"`(>[\w]+)`", row[1])]


def test_every_table_has_its_row():
    assert set(rows()) == {it.decode() for it in catalog._TABLES}


def test_the_schema():
    assert f"text: `{catalog.SCHEMA}`" in rows()["meta"][0][1]
    assert f"raises the number\nto {catalog.SCHEMA}" in TEXT


def test_every_fact_about_the_store_has_its_row(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        store._directory.writable().producer_ids()
        store._directory.writable().new_producer_ids(1)
        store._directory.writable().note_upkeep(b"{}")
        environment = store._directory._catalog.environment
        environment.transact(queues.TABLES, lambda it: queues.change(it, [KeptVhost(1, "/")], []))
        environment.transact(mqtt.TABLES, lambda it: mqtt.change(it, (), (), alive_ms=1))
        store.create_topic("t")
        committed = {("t", 0): OffsetToCommit(1, record=1)}
        store.internals().groups.change_idle("g", committed)
        store.group("g").delete()
        kept = {key.decode() for key, _ in environment.items(b"meta")}
    assert {name for row in rows()["meta"] for name in re.findall(r"`(\w+)`", row[0])} == kept


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("logs", [catalog._STATE]),
        ("notes", [ledger._PRODUCER, ledger._BATCH, ledger._FIRST]),
        ("offsets", [offsets._VALUE, offsets._RECORD, offsets._OLD_VALUE]),
        ("groups", [groups._HEAD, groups._CREATED]),
    ],
)
def test_layouts(table, expected):
    assert layouts(table) == [it.format for it in expected]


def test_ids_that_are_remembered():
    section = TEXT.split("## Ids that are remembered")[1].split("## ")[0]
    name, latest, count, until = (Struct(it) for it in re.findall(r"`(>\w)`", section))
    its = repeats.Repeats(TopicSettings(deduplication_header="id"), lambda: 900, room.Room(1 << 20))
    ids = [(("id", it),) for it in (b"a", b"b")]
    its.appended(encode([(b"x", None, it, 500) for it in ids]))
    expected = [
        name.pack(2), b"id", latest.pack(500), count.pack(2), id_of(b"a"), id_of(b"b"),
        until.pack(600_500), until.pack(600_500),
    ]  # fmt: skip
    assert its.freeze()() == b"".join(expected)


def test_where_a_log_stands_is_told_field_by_field():
    value = rows()["logs"][0][1]
    names_ = " ".join(field.name for field in fields(catalog.LogState)).replace("_", " ")
    for word in set(names_.split()) - {"ms", "until"}:
        assert word in value, word
    assert catalog._STATE.size == 8 * len(fields(catalog.LogState))


def test_kinds_of_groups():
    told = re.findall(r"(\d) (\w+)", re.search(r"kind \((.*?)\)", rows()["groups"][0][1])[1])
    assert [(int(number), kind) for number, kind in told] == list(enumerate(GROUP_KINDS))


def test_the_batch_header():
    assert batch.HEADER_BYTES == 61
    assert f"A batch is {batch.HEADER_BYTES} bytes of header" in TEXT


def test_operations_of_the_journal():
    told = re.findall(r"^\| `(\w)` \|", TEXT, re.MULTILINE)
    at = told.index(held.TO_LANES.decode())
    assert told[at + 1] == held.TO_TOPIC.decode()
    of_sessions = {it.encode() for it in told[at + 2 :]}
    assert of_sessions == handovers._KNOWN | {handovers.GONE}
    told = told[:at]
    assert {ord(it) for it in told} == settled._OPERATIONS.keys() | {ord(settled.GONE)}
    assert f"{held.PRODUCER} as its producer id" in TEXT.replace("\n", " ")
    assert f"format (a byte, {journal.FORMAT}), then for each queue" in TEXT.replace("\n", " ")
    assert f"(a byte, {state.FORMAT}), then for each lane" in TEXT.replace("\n", " ")
    assert f"key `{share_groups.SHARE.decode()}`, a share group's name" in TEXT
    shares = f"what they have settled: a format (a byte, {share_groups.FORMAT})"
    assert shares in TEXT.replace("\n", " ")


def test_records_about_transactions():
    text = TEXT.replace("\n", " ")
    section = TEXT.partition("Records about Kafka's transactions")[2]
    section = section.partition("The journal's note")[0]
    told = re.findall(r"^\| `(\w)`, .*? \| (.*?) \|", section, re.MULTILINE)
    assert {letter.encode() for letter, _ in told} == operations.LETTERS == journal.OF_TRANSACTIONS
    values = {letter: re.findall(r"`>(\w+)`", value) for letter, value in told}
    assert values["T"] == [operations._PRODUCER.format[1:]]
    assert values["D"] == [operations._DECISION.format[1:]]
    assert f"(0 abort, {Outcome.COMMIT:d} commit)" in section
    states = ", ".join(f"{it:d}" for it in sorted(IDLE)).replace(", 5", " or 5")
    assert f"as in Kafka's transaction log: {states})" in text
    key, number = journal.TRANSACTIONS.decode(), journaled.FORMAT
    assert f"the key `{key}` comes with a format (a byte, {number})" in text


def test_headers_of_messages():
    told = re.findall(r"^\| `((?:amqp|__logstore)\.\w+)` \|", TEXT, re.MULTILINE)
    assert told == [message.EXCHANGE, message.PROPERTIES, message.DEATHS]


def test_headers_of_retained_messages():
    section = TEXT.partition("## Retained messages of MQTT")[2].partition("\n## ")[0]
    told = re.findall(r"`(mqtt\.[a-z.-]+)`", section.partition("| any other")[0])
    assert set(told) == record_headers._OWN
    assert f"`{record_headers.ESCAPE}`" in section
    assert f"`{RETAINED_TOPIC}`" in section


def test_keys_of_redis():
    section = TEXT[TEXT.index("## Keys of Redis") : TEXT.index("## Lanes")]
    assert f"`{KEYS_TOPICS[0]}` to `{KEYS_TOPICS[-1]}`" in section
    for name in (shapes.EXPIRES, elements.TYPE, elements.VERSION, shapes.FLUSH_HEADERS[0][0]):
        assert f"`{name}`" in section
    for key in (shapes.FLUSH, elements.ELEMENT):
        assert f"`\\0{key[1:].decode()}`" in section
    assert all(f"`{kind}`" in section for kind in elements.KINDS)


def test_index_entries():
    assert "| relative offset u32 | position u32 |" in TEXT
    assert index.OFFSET_ENTRY.format == ">II"
    assert "| timestamp i64 | relative offset u32 |" in TEXT
    assert index.TIME_ENTRY.format == ">qI"


def test_every_file_is_drawn():
    tree = TEXT[TEXT.index("data/\n") : TEXT.index("The partition directories")]
    for name in (
        names.LOCK, names.CATALOG, names.WATERMARKS, names.CONFIG, names.DESK, names.CLAIMS,
        names.COORDINATOR, names.PIN, names.LOG, names.INDEX, names.TIMEINDEX,
    ):  # fmt: skip
        assert name in tree, name


def test_a_store_holds_no_file_that_is_not_drawn(tmp_path):
    tree = TEXT[TEXT.index("data/\n") : TEXT.index("The partition directories")]
    with logstore.open(tmp_path / "data") as store:
        topic = store.create_topic("flights")
        topic.append(b"x")
        with store.consumer("flights", group="g") as consumer:
            next(iter(consumer))
            found = [path for path in (tmp_path / "data").rglob("*") if not path.is_dir()]
    for path in found:
        name = path.suffix if path.name[0].isdigit() else path.name
        assert name in tree or path.parent.name == names.CLAIMS, path
