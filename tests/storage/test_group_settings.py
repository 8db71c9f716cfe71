"""Settings of groups in the catalogue."""

import logstore
from logstore.storage import group_settings
from logstore.storage.names import CATALOG


def test_they_are_there_until_nothing_is_given(tmp_path):
    def environment(store):
        return store.internals().directory.groups.environment

    with logstore.open(tmp_path) as store:
        assert group_settings.load(environment(store)) == ({}, [])
        group_settings.keep(environment(store), "g", {"a": "1", "b": "é"})
        group_settings.keep(environment(store), "h", {"a": "2"})
        group_settings.keep(environment(store), "h", {})
    with logstore.open(tmp_path) as store:
        assert group_settings.load(environment(store)) == ({"g": {"a": "1", "b": "é"}}, [])
        table = group_settings.GROUP_SETTINGS
        environment(store).commit([(table, b"bad", b"?"), (table, b"\xff", b"{}")])
        found, damaged = group_settings.load(environment(store))
        reports = [it for it in store.verify() if it.path.endswith(CATALOG)]
    assert (set(found), len(damaged), len(reports)) == ({"g"}, 2, 2)
    assert all("settings of group" in str(it) for it in damaged)
