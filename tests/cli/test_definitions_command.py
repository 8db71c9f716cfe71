"""``logstore definitions``: on a directory that no server has, and through a server."""

import json
import stat

import pytest
from serving import Serving

GUEST = "yN9US6zNdn2qoBaqEX+7X1eIJYk3Gu/DNRZmbrqSArmN32iK"
GIVEN = {
    "rabbit_version": "3.10.8",
    "vhosts": [{"name": "shop"}],
    "queues": [{"name": "mail", "vhost": "shop", "arguments": {"x-max-length": 5}}],
    "exchanges": [{"name": "x", "vhost": "shop", "type": "topic"}],
    "bindings": [
        {"vhost": "shop", "source": "x", "destination": "mail", "destination_type": "queue",
         "routing_key": "a.#", "arguments": {}}
    ],
    "policies": [
        {"vhost": "shop", "name": "ha", "pattern": "", "definition": {"ha-mode": "all"}}
    ],
    "parameters": [{"vhost": "/", "component": "operator_policy", "name": "op"}],
}  # fmt: skip


@pytest.fixture(scope="module")
def served_data(tmp_path_factory):
    running = Serving(tmp_path_factory.mktemp("definitions") / "data", resp_port=-1, amqp_port=0)
    yield running.data
    code, errors = running.stop()
    assert code == 0
    assert "Traceback" not in errors


@pytest.fixture(params=["here", pytest.param("served", marks=pytest.mark.long)])
def either(request, monkeypatch, data, logstore):
    """``logstore``, whose directory is open here, or in a server that all these tests share."""
    if request.param == "served":
        monkeypatch.setenv("LOGSTORE_DATA", str(request.getfixturevalue("served_data")))
    return logstore


def test_definitions_are_taken_and_given(either, tmp_path):
    file = tmp_path / "rabbit.json"
    file.write_text(json.dumps(GIVEN))
    either("vhost", "add", "other")
    would = either("definitions", "import", file, "--dry-run")
    assert "nothing was changed: this was a dry run" in would.out
    assert "shop" not in either("vhost", "list").out
    done = either("definitions", "import", file)
    assert [it.split() for it in done.lines] == [
        ["DEFINITIONS", "ADDED", "CHANGED", "THERE"], ["vhosts", "1", "0", "0"],
        ["policies", "1", "0", "0"], ["exchanges", "1", "0", "0"], ["queues", "1", "0", "0"],
        ["bindings", "1", "0", "0"],
    ]  # fmt: skip
    named = "operator policy 'op' of virtual host '/' is left out: it is not supported"
    assert named in done.err
    assert "ha-mode of policy 'ha' of virtual host 'shop' has no effect" in done.err
    again = json.loads(either("definitions", "import", file, "--json").out)
    assert again["counts"]["queues"] == {"added": 0, "changed": 0, "there": 1}
    assert named in again["notes"]
    out = tmp_path / "ours.json"
    assert either("definitions", "export", "--output", out).out == f"wrote definitions to {out}\n"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    out.chmod(0o644)  # hashes of passwords go into what others could read until now
    either("definitions", "export", "--output", out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    found = json.loads(out.read_text())
    assert [it["name"] for it in found["queues"]] == ["mail"]
    assert found == json.loads(either("definitions", "export").out)
    shop = json.loads(either("definitions", "export", "--vhost", "shop").out)
    assert shop["bindings"][0]["routing_key"] == "a.#"
    assert "vhost" not in shop["bindings"][0]
    either("definitions", "import", "-", "--vhost", "other", stdin=json.dumps(shop).encode())
    assert "mail" in either("queue", "list", "--vhost", "other").out
    for vhost in ("shop", "other"):
        either("vhost", "delete", vhost, "--yes")


@pytest.mark.long
def test_what_cannot_be_done_is_one_line(either, tmp_path):
    file = tmp_path / "bad.json"
    file.write_text(json.dumps({"queues": [{"name": "q", "vhost": "nowhere"}]}))
    either("queue", "declare", "q", "--argument", "x-max-length=5")
    for words, stdin, error in (
        (("import", file), b"", "definitions: queues: virtual host 'nowhere' exists neither here "
         "nor in the definitions: nothing was changed"),
        (("import", "-"), b"{", "definitions: not a JSON object: nothing was changed"),
        (("import", "-"), b'{"queues": [{"name": "q", "vhost": "/"}]}', "definitions: queues: "
         "queue 'q' already exists with x-max-length 5, not none; declare it as it is, or delete "
         "it first: nothing was changed"),
        (("import", tmp_path / "none"), b"", f"{tmp_path / 'none'}: No such file or directory"),
        (("import", "-", "--vhost", "no"), b"{}", "no virtual host 'no'; use an existing one"),
        (("export", "--vhost", "no"), b"", "no virtual host 'no'; use an existing one"),
        (("export", "--output", tmp_path), b"", f"{tmp_path}: Is a directory"),
    ):  # fmt: skip
        said = either("definitions", *words, stdin=stdin, code=1).err
        assert said == f"logstore: {error}\n"
    either("queue", "delete", "q", "--yes")


@pytest.mark.long
def test_there_is_no_directory(logstore, data, tmp_path):
    assert logstore("definitions", "export", code=1).err.count("\n") == 1
    logstore("definitions", "import", "-", "--dry-run", stdin=b"{}", code=1)
    assert not data.exists()
    logstore("definitions", "import", "-", stdin=b"{}")
    assert data.exists()
