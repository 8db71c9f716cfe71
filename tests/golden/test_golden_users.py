"""A store with users of schema 5, and stores of older schemas, which have none."""

import json

import pytest

from logstore.kept.users import KeptUser
from logstore.storage.catalog import SCHEMA
from tests.golden.golden_store import HERE, open_golden, unpack
from tests.golden.golden_users import FACTS, as_json, described

EXPECTED = json.loads((HERE / "users.json").read_text())


@pytest.mark.parametrize("mode", ["read", "write"])
def test_all_users_and_rules_are_there(tmp_path, mode):
    directory = unpack("users", tmp_path)
    with open_golden(directory, mode) as store:
        assert described(store) == EXPECTED["facts"] == sorted(map(as_json, FACTS))
        assert [it for report in store.verify() for it in report.findings] == []
        status = store.status()
        assert (status.schema, status.users, status.damaged) == (SCHEMA, 4, ())


def test_users_are_changed_in_it(tmp_path):
    directory = unpack("users", tmp_path)
    nobody = KeptUser("nobody")
    with open_golden(directory, "write") as store:
        keeping = store.internals().access().change([KeptUser("new")], [nobody])
        assert keeping.error is None
    with open_golden(directory) as store:
        new = {*EXPECTED["facts"], as_json(KeptUser("new"))} - {as_json(nobody)}
        assert set(described(store)) == new


LONG = [pytest.param(it, marks=pytest.mark.long) for it in ("crashed", "schema3", "queues-crashed")]


@pytest.mark.parametrize("name", ["store", "queues", *LONG])
def test_a_store_of_an_older_schema_has_no_users_and_takes_some(tmp_path, name):
    directory = unpack(name, tmp_path)
    with open_golden(directory, "write") as store:
        access = store.internals().access()
        assert (access.required, store.users()) == (False, {})
        assert access.change(FACTS).error is None
    with open_golden(directory) as store:
        assert described(store) == EXPECTED["facts"]
        assert store.status().schema == SCHEMA
