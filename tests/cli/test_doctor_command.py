"""``logstore doctor``."""

import json

import pytest


def checks(result):
    return {it["name"]: it for it in json.loads(result.out)["checks"]}


def test_it_says_what_it_has_looked_at(logstore, data):
    lines = logstore("doctor", code=None).lines
    assert {line.split()[0] for line in lines if not line.startswith(" ")} <= {"ok", "warning"}
    assert any("no store yet" in line for line in lines)
    assert not data.exists()


def test_an_error_is_the_exit_code_and_what_to_do_is_below_it(logstore, data):
    data.mkdir()
    (data / "letters").write_text("")
    result = logstore("doctor", code=1)
    at = next(n for n, line in enumerate(result.lines) if "holds other files" in line)
    assert result.lines[at].startswith("error    directory    ")
    assert result.lines[at + 1].strip() == "name an empty directory, or one that does not exist"
    assert result.err == f"logstore: {data}: 1 error: see above\n"


def test_settings_that_are_wrong_are_found_and_the_rest_is_looked_at(logstore, data, monkeypatch):
    monkeypatch.setenv("LOGSTORE_KAFKA_PORT", "many")
    found = checks(logstore("doctor", "--json", code=1))
    assert found["settings"]["state"] == "error"
    assert found["settings"]["found"].startswith("kafka.port=many: must be a whole number")
    assert "memory" in found


def test_a_sync_is_measured_where_the_store_is_or_will_be(logstore, data):
    assert "syncs" not in checks(logstore("doctor", "--json"))
    assert (
        "a sync of 4 KiB takes"
        in checks(logstore("doctor", "--json", "--measure"))["syncs"]["found"]
    )
    assert not data.exists()
    logstore("topic", "create", "t")
    before = sorted(it.name for it in data.iterdir())
    assert "syncs" in checks(logstore("doctor", "--json", "--measure"))
    assert sorted(it.name for it in data.iterdir()) == before


@pytest.mark.long
def test_a_server_is_asked_for_what_it_finds_of_itself(logstore, start_serving, data):
    server = start_serving(data, kafka_advertised_address="no-such-host.invalid:1")
    found = checks(logstore("doctor", "--json", code=1))
    writer = found["writer"]["found"]
    assert writer.startswith(f"pid {server.process.pid} (logstore serve")
    assert f"kafka {server.address}" in writer
    assert ", 0 open" not in found["files"]["found"]
    assert " open" in found["files"]["found"]
    assert "no-such-host.invalid" in found["advertised"]["found"]
    assert found["reached"]["found"] == "from this machine alone"


@pytest.mark.long
def test_a_program_that_writes_the_store_is_named(logstore, data, store):
    logstore("topic", "create", "t")
    with store("write"):
        found = checks(logstore("doctor", "--json"))
    assert "writes it" in found["writer"]["found"]
    assert found["directory"]["state"] == "ok"
