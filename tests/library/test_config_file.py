"""Settings that are written to the configuration file, and all else that stays in it."""

import os
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.config import Config
from logstore.config_file import edited, keep
from logstore.errors import Failed, InvalidSetting, Refused

FILE = """\
# of the cache
"resp.maxclients" = 70  # as many as there are workers
[[keys]]
pattern = "cache:*"  # resp.maxmemory.bytes = 3
sync = "none"
[resp]
port = 7000
maxmemory.policy = 'allkeys-lru'# fine
[resp . client.output]
buffer.limit   =   "1mb 0 0"
"""


def test_values_are_changed_where_they_stand_and_the_rest_is_as_it_was(tmp_path):
    file = tmp_path / "logstore.toml"
    file.write_text(FILE)
    file.chmod(0o640)
    wanted = {
        "resp.maxclients": "71",
        "resp.maxmemory.bytes": "1048576",
        "resp.maxmemory.policy": "volatile-ttl",
        "resp.client.output.buffer.limit": "2 3 4",
        "resp.appendfsync": "always",
        "resp.port": "7000",
    }
    changed = [
        "resp.maxclients",
        "resp.maxmemory.bytes",
        "resp.maxmemory.policy",
        "resp.client.output.buffer.limit",
    ]
    assert keep(file, wanted, {}) == changed
    assert file.read_text() == FILE.replace("= 70 ", "= 71 ").replace(
        "[[keys]]", '"resp.maxmemory.bytes" = 1048576\n\n[[keys]]'
    ).replace("'allkeys-lru'#", '"volatile-ttl"#').replace('"1mb 0 0"', '"2 3 4"')
    assert file.stat().st_mode & 0o777 == 0o640
    assert [it.name for it in tmp_path.iterdir()] == ["logstore.toml"]
    config = Config.load(file, {})
    assert config.store.resp_maxmemory_bytes == 1 << 20
    assert config.keys[0].sync == "none"
    assert keep(file, wanted, {}) == []


def test_a_file_is_made_where_there_is_none(tmp_path):
    file = tmp_path / "logstore.toml"
    assert keep(file, {"resp.appendfsync": "always"}, {}) == []
    assert not file.exists()
    keep(file, {"resp.appendfsync": "everysec"}, {})
    assert file.read_text() == '"resp.appendfsync" = "everysec"\n'


def test_what_would_not_stand_is_refused_in_one_line(tmp_path):
    file = tmp_path / "logstore.toml"
    environment = {"LOGSTORE_RESP_MAXMEMORY_BYTES": "5"}
    with pytest.raises(Refused, match="environment LOGSTORE_RESP_MAXMEMORY_BYTES, not by"):
        keep(file, {"resp.maxmemory.bytes": "6"}, environment)
    with pytest.raises(InvalidSetting, match=r"resp\.maxclients=0: must be"):
        keep(file, {"resp.maxclients": "0"}, {})
    odd = "resp = { maxclients = 7 }\n"
    with pytest.raises(Refused, match="set resp\\.maxclients in it by hand"):
        edited(odd, {"resp.maxclients": 8}, "FILE")
    text = 'x = """\nresp.maxclients = 7\n"""\n'
    with pytest.raises(Refused, match="by hand"):
        edited(text, {"resp.maxclients": 8}, "FILE")


def test_a_folder_that_takes_nothing_is_told_and_the_file_stays(tmp_path):
    file = tmp_path / "logstore.toml"
    file.write_text("# mine\n")
    (tmp_path / "logstore.toml.new").mkdir()
    with pytest.raises(Failed, match="can't be written: Is a directory"):
        keep(file, {"resp.maxclients": "8"}, {})
    assert file.read_text() == "# mine\n"
    file.unlink()
    file.mkdir()
    with pytest.raises(Failed, match="can't be read"):
        keep(file, {"resp.maxclients": "8"}, {})


_LINES = st.sampled_from(
    ['resp.maxclients = 7', '"resp.port" = 1 # x', "[resp]", "maxclients = 9", "[a.b]", "[[c]]",
     "port = 2", "x = [1,", "2]", 'y = """', '"""', "# resp.port = 3", "", "resp.port = 0x10",
     "  'resp' . port=5", "resp = {port = 1}", "z = 'a # b'"]
)  # fmt: skip


@given(st.lists(_LINES, max_size=8), st.booleans())
def test_any_file_has_the_values_and_nothing_else_anew_or_is_refused(lines, both):
    import tomllib

    from logstore.config import flatten

    text = os.linesep.join(lines)
    try:
        before = dict(flatten(tomllib.loads(text)))
    except tomllib.TOMLDecodeError:
        return
    changes = {"resp.maxclients": 1234} | ({"resp.port": 77} if both else {})
    with suppress(Refused):
        after = dict(flatten(tomllib.loads(edited(text, changes, "FILE"))))
        assert after == before | {name: str(value) for name, value in changes.items()}
        for comment in (it for it in lines if it.startswith("#")):
            assert comment in edited(text, changes, "FILE")
