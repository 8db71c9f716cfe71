"""What is kept of one group is damaged: every other group goes on."""

import pytest
from clock import NOW_MS, Clock
from mostly_long import mostly_long
from serving import Serving
from wire_client import WireClient

import logstore
from logstore.config import Config
from logstore.errors import CorruptStore
from logstore.kafka.messages import list_groups, offset_fetch
from logstore.storage.catalog import Catalog
from logstore.storage.disk import Disk
from logstore.storage.groups import MINUTE_MS

SETTINGS = Config(
    {"upkeep.interval.ms": ("-1", "test"), "offsets.retention.minutes": ("1", "test")}
)
DAMAGE = [
    (b"groups", b"bad", b"\xff"),
    (b"groups", b"bad", b"\0" * 8 + b"\x09" + b"\0" * 24),  # of no kind
    (b"offsets", b"bad\0t\0\0\0\0\0", b"\xff"),
]


@pytest.fixture(params=DAMAGE, ids=["cut off", "no kind", "an offset"])
def damaged(request, tmp_path):
    path = tmp_path / "data"
    with logstore.open(path, config=SETTINGS, clock=Clock(NOW_MS)) as store:
        store.create_topic("t").append(b"1")
        for group in ("a", "bad", "good"):
            with store.consumer("t", group=group) as consumer:
                assert len(list(consumer)) == 1
    catalog = Catalog(Disk(), str(path / "catalog.mdb"), create=False, write=True)
    table, key, value = request.param
    assert catalog.environment.get(table, key) is not None
    catalog.environment.commit([(table, key, value)])
    catalog.close()
    return path


def test_the_others_expire_and_it_is_named(damaged):
    with logstore.open(damaged, config=SETTINGS, clock=Clock(NOW_MS + 2 * MINUTE_MS)) as store:
        with pytest.raises(CorruptStore, match=r"group 'bad' does not expire: .* is damaged"):
            store.expire_offsets()
        assert store.groups() == ["bad"]


def test_the_others_are_read_and_described(damaged):
    with logstore.open(damaged, config=SETTINGS, clock=Clock(NOW_MS)) as store:
        store.topic("t").append(b"2")
        for group in ("a", "good"):
            assert [it.lag for it in store.group(group).describe()] == [1]
            with store.consumer("t", group=group) as consumer:
                assert [it.value for it in consumer] == [b"2"]
        with pytest.raises(CorruptStore), store.consumer("t", group="bad") as consumer:
            list(consumer)


@pytest.mark.parametrize("damaged", mostly_long(DAMAGE, DAMAGE[:1]), indirect=True)
def test_a_server_starts_and_serves_the_others(damaged):
    server = Serving(damaged)
    with WireClient(server.endpoint) as client:
        listed = client.ask(16, 4, list_groups.Request(), list_groups.Response)
        assert [it.group_id for it in listed.groups] == ["a", "bad", "good"]
        asked = offset_fetch.Request(group_id="good", topics=[offset_fetch.Topic("t", [0])])
        found = client.ask(9, 5, asked, offset_fetch.Response)
        assert [it.committed_offset for at in found.topics for it in at.partitions] == [1]
    code, said = server.stop()
    assert code == 0
    assert "Traceback" not in said
