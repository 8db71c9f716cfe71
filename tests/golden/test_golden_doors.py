"""A store that an older logstore's MQTT and Redis doors have left, killed: opened and used."""

import json

import pytest

import logstore
from logstore.storage.catalog import SCHEMA
from tests.golden.golden_doors import described, serving
from tests.golden.golden_store import HERE, unpack

EXPECTED = json.loads((HERE / "doors.json").read_text())


@pytest.mark.long
def test_all_of_it_is_there(tmp_path):
    directory = unpack("doors", tmp_path)
    server = serving(directory)
    try:
        assert json.loads(json.dumps(described(server))) == EXPECTED["doors"]
    finally:
        server.stop()
    with logstore.open(directory, "read") as store:
        found = [it for report in store.verify() for it in report.findings if not it.left]
        assert found == []
        assert store.status().schema == SCHEMA
