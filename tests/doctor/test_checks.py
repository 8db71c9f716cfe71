"""What the facts come to; and the facts, of what is here."""

import os
from dataclasses import replace

import pytest

import logstore
from logstore import platforms
from logstore.config import Config
from logstore.doctor.checks import CHECKS, DISKS, OF_CONTAINERS, OF_NETWORKS, examine, shown, worst
from logstore.doctor.facts import Facts, Machine, Mount, Place, Reached, Room
from logstore.doctor.look import facts_at, mount_of, syncs
from logstore.owner import Owner
from logstore.settings import StoreSettings
from logstore.storage.catalog import SCHEMA

GIB = 1 << 30
EXT4 = Mount("ext4", "/", frozenset({"rw"}))
SOUND = Facts(
    place=Place(
        path="data", kind="store", mount=EXT4, room=Room(100 * GIB, 50 * GIB, 1000, 900),
        uid=7, schema=SCHEMA, schema_here=SCHEMA, newest_ms=1_800_000_000_000,
    ),
    machine=Machine(
        version="1", python="3.12.1", kernel="6.1.0-18-amd64", uid=7, now_ms=1_800_000_000_000,
        clock_synchronized=True, clocksource="tsc", files_limit=1 << 20, files_open=40,
        file_bytes_limit=None, memory_bytes=8 * GIB,
    ),
    reached=Reached({"kafka": "127.0.0.1:9092"}, users=False),
)  # fmt: skip


def with_(part, **facts):
    return replace(SOUND, **{part: replace(getattr(SOUND, part), **facts)})


def over_cluster(**settings):
    """Of a node that others reach."""
    settings = StoreSettings(cluster_bootstrap_servers=("kafka-1:9092",), **settings)
    return replace(SOUND, settings=settings, reached=Reached(**USERS, tls=True))


def judged(facts):
    """(name, state, found, advice) of what is not well."""
    return [tuple(it) for it in examine(facts) if it.state != "ok"]


def test_where_all_is_well_nothing_is_advised():
    assert judged(SOUND) == []
    assert all(not it.advice for it in examine(SOUND))
    assert shown(SOUND)["state"] == "ok"


def test_what_is_done_without_is_told_where_every_promise_holds():
    facts = with_("machine", kernel="4.19.0", lacks=[platforms.SYNCFS, platforms.OFD_LOCKS])
    assert judged(facts) == []
    found = [it.found for it in examine(facts) if it.name == "platform"]
    assert found == [
        "no syncfs: each file and directory is synced by itself",
        "no locks of open files (F_OFD_SETLK): flock, which is of an open file, too",
    ]


OVERLAY = Mount("overlay", "/", frozenset({"rw"}))
USERS = {"users": True, "addresses": {"kafka": "0.0.0.0:9092"}}
WRONG = [
    (with_("machine", kernel="4.16.0"), "versions", "warning", "Linux 4.17 or later"),
    (with_("machine", kernel="3.10.0-1160"), "versions", "warning", "Linux 4.17 or later"),
    (with_("machine", system="macOS", kernel="23.1"), "versions", "warning", "docs/deployment.md"),
    (with_("machine", lacks=[platforms.POSIX_FADVISE]), "platform", "warning", "restart the"),
    (replace(SOUND, settings_trouble="no setting 'x'"), "settings", "error", "correct it"),
    (with_("place", kind="foreign"), "directory", "error", "name an empty directory"),
    (with_("place", kind="file"), "directory", "error", "name a data directory"),
    (with_("place", kind="unreadable", trouble="Permission denied"), "directory", "error", "user"),
    (with_("place", kind="absent", writable=False), "directory", "error", "name another one"),
    (with_("place", schema=SCHEMA + 1), "directory", "error", "use the newer logstore"),
    (with_("place", schema=SCHEMA - 1), "directory", "warning", "make a backup first"),
    (with_("place", schema=None, trouble="damaged"), "directory", "error", "no process can open"),
    (with_("place", leftovers=["t-0: busy"]), "directory", "warning", "remove it by hand"),
    (with_("place", number_taken=True, schema=None), "writer", "warning", "share a pid namespace"),
    (with_("place", oldest_reader=(9, 10_001)), "reader", "warning", "end that process"),
    (with_("place", uid=8), "owner", "error", "run as the user"),
    (with_("place", mode=0o40750), "owner", "warning", "chmod 700 data"),
    (with_("place", writable=False), "owner", "error", "mount it for writing"),
    (with_("place", mount=OVERLAY), "file system", "warning", "mount a volume"),
    (with_("place", mount=EXT4._replace(type="nfs4")), "file system", "error", "this machine"),
    (with_("place", mount=EXT4._replace(type="tmpfs")), "file system", "warning", "for tests"),
    (with_("place", mount=EXT4._replace(type="9p")), "file system", "warning", "ext4, xfs"),
    (with_("place", mount=EXT4._replace(type="")), "file system", "warning", "ext4, xfs"),
    (with_("place", mount=EXT4._replace(options={"ro"})), "file system", "error", "remount,rw"),
    (with_("place", mount=EXT4._replace(options={"nobarrier"})), "file system", "error", "without"),
    (with_("place", room=Room(GIB, GIB // 20, 0, 0)), "room", "warning", "retention.bytes"),
    (with_("place", room=Room(100 * GIB, 1000, 0, 0)), "room", "error", "queue.disk.free.bytes"),
    (with_("place", room=Room(GIB, GIB, 1000, 10)), "room", "warning", "make room"),
    (replace(SOUND, syncs_us=[5, 6, 7]), "syncs", "warning", "hypervisor"),
    (replace(SOUND, syncs_us=[40_000]), "syncs", "warning", "a faster disk"),
    (with_("machine", files_limit=1024), "files", "warning", "ulimit -n"),
    (with_("machine", file_bytes_limit=1000), "files", "error", "ulimit -f unlimited"),
    (with_("machine", memory_bytes=64 << 20), "memory", "warning", "give it 128.0 MiB"),
    (
        replace(SOUND, settings=StoreSettings(memory_clients_max_bytes=6 * GIB)),
        "memory", "warning", "lower memory.clients.max.bytes",
    ),
    (with_("machine", now_ms=0), "clock", "error", "set it"),
    (with_("machine", now_ms=1_799_999_900_000), "clock", "warning", "set the clock"),
    (with_("machine", clock_synchronized=False), "clock", "warning", "chrony"),
    (with_("machine", clocksource="hpet"), "clock", "warning", "tsc or kvm-clock"),
    (with_("reached", **USERS | {"users": False}), "reached", "error", "logstore user add"),
    (with_("reached", **USERS), "reached", "warning", "set tls.cert and tls.key"),
    (
        replace(with_("machine", container=True), reached=Reached(**USERS, tls=True)),
        "reached", "warning", "kafka.advertised.address",
    ),
    (over_cluster(cluster_link_tls=True), "links", "error", "cluster.link.secret.file"),
    (over_cluster(cluster_link_secret_file="s"), "links", "warning", "cluster.link.tls,"),
    (with_("reached", unresolved=["nowhere"]), "advertised", "error", "kafka.advertised.address"),
    (with_("reached", certificate_trouble="k.pem: no key"), "certificate", "error", "no server"),
    (with_("reached", certificate_doubts=["has expired"]), "certificate", "warning", "renew it"),
    (with_("place", upkeep_failures=["t-0: damaged"]), "upkeep", "warning", "logstore verify"),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "name", "state", "advice"), WRONG)
def test_what_is_wrong_is_one_finding_that_says_what_to_do(facts, name, state, advice):
    [(found_name, found_state, found, found_advice)] = judged(facts)
    assert (found_name, found_state) == (name, state)
    assert advice in found_advice
    assert found
    assert "\n" not in found + found_advice


def test_every_check_has_found_something_wrong_above():
    assert {it[1] for it in WRONG} == set(CHECKS)


def test_a_file_system_is_of_one_sort():
    assert not DISKS & OF_NETWORKS
    assert not DISKS & OF_CONTAINERS


def test_the_state_of_all_is_the_worst():
    facts = replace(with_("machine", clock_synchronized=False), settings_trouble="x")
    assert worst(examine(facts)) == shown(facts)["state"] == "error"


def test_whoever_writes_it_is_named_with_its_doors():
    owner = Owner(12, "logstore serve", 0, {"kafka": "127.0.0.1:9092"})
    [found] = [it.found for it in examine(with_("place", owner=owner)) if it.name == "writer"]
    assert found == "pid 12 (logstore serve) writes it, at kafka 127.0.0.1:9092"


def test_nodes_that_know_each_other_by_a_secret_and_have_tls_are_well():
    for its in {"cluster_sasl_user": "al"}, {"cluster_link_secret_file": "s"}:
        assert judged(over_cluster(cluster_link_tls=True, **its)) == []
    assert judged(replace(over_cluster(), reached=SOUND.reached)) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.8.9.1"])
def test_loopback_reaches_nobody_else(host):
    assert judged(with_("reached", addresses={"kafka": f"{host}:9092"})) == []


TABLE = """\
22 1 0:21 / / rw,relatime - ext4 /dev/sda1 rw
23 22 0:22 / /srv rw - xfs /dev/sdb rw,noquota
24 22 0:23 / /srv/my\\040data ro,noatime master:1 - nfs4 host:/x rw,vers=4.2
25 22 0:24 / /srvother rw - tmpfs tmpfs rw
27 22 0:26 / /srv/\u00e9t\u00e9 rw - zfs pool rw
nonsense
26 22 0:25 / /srv rw - btrfs /dev/sdc rw
"""


@pytest.mark.parametrize(
    ("path", "type_", "option"),
    [
        ("/", "ext4", "relatime"), ("/home/x", "ext4", "rw"), ("/srv", "btrfs", "rw"),
        ("/srv/x", "btrfs", "rw"), ("/srv/my data/x", "nfs4", "ro"), ("/srvother", "tmpfs", "rw"),
        ("/srv/\u00e9t\u00e9/x", "zfs", "rw"),
    ],
)  # fmt: skip
def test_a_path_is_on_what_is_mounted_nearest_above_it(path, type_, option):
    mount = mount_of(path, TABLE)
    assert mount.type == type_
    assert option in mount.options


def test_where_no_mounts_are_known_the_file_system_is_not():
    assert mount_of("/srv", "").type == ""


# What is here -------------------------------------------------------------------------------------


def test_a_store_is_looked_at_without_changing_anything(tmp_path):
    path = tmp_path / "data"
    with logstore.open(path) as store:
        store.create_topic("t").append(b"value")
    before = {it.name: it.read_bytes() for it in path.iterdir() if it.is_file()}
    names = sorted(os.listdir(path))
    facts = facts_at(str(path), Config(), {"kafka": "127.0.0.1:9092"})
    assert (facts.place.kind, facts.place.schema, facts.place.settled) == ("store", SCHEMA, True)
    assert facts.place.owner is None
    assert not facts.reached.users
    assert {name for name, state, *_ in judged(facts) if state == "error"} == set()
    assert sorted(os.listdir(path)) == names
    changed = {it for it, data in before.items() if (path / it).read_bytes() != data}
    assert changed <= {"catalog.mdb-lock"}  # who reads stands there meanwhile
    with logstore.open(path):
        assert facts_at(str(path), Config(), {}).place.owner.pid == os.getpid()


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda path: None, "absent"),
        (lambda path: path.mkdir(), "empty"),
        (lambda path: path.write_text(""), "file"),
        (lambda path: (path.mkdir(), (path / "x").write_text("")), "foreign"),
        (lambda path: (path.mkdir(), (path / "catalog.mdb").write_text("x" * 9000)), "store"),
        (lambda path: (path.mkdir(), os.mkfifo(path / "catalog.mdb")), "store"),
        (lambda path: path.symlink_to(path), "unreadable"),
    ],
)
def test_whatever_the_directory_is_it_is_told(tmp_path, make, kind):
    path = tmp_path / "data"
    make(path)
    facts = facts_at(str(path), Config(), {})
    assert facts.place.kind == kind
    found = examine(facts)
    assert "directory" in [it.name for it in found]
    if kind == "store":
        [directory] = [it for it in found if it.name == "directory"]
        assert directory.state == "error"
        assert "data" in directory.found
    assert path.exists() == (kind not in ("absent", "unreadable"))


def test_a_directory_below_a_file_can_not_be(tmp_path):
    (tmp_path / "file").write_text("")
    facts = facts_at(str(tmp_path / "file" / "data"), Config(), {})
    assert (facts.place.kind, facts.place.trouble) == ("unreadable", "Not a directory")


def test_hosts_that_clients_are_told_are_looked_up(tmp_path):
    given = {"kafka.advertised.address": ("no-such-host.invalid:9092", "test")}
    facts = facts_at(str(tmp_path / "data"), Config(given), {})
    assert facts.reached.unresolved == ["no-such-host.invalid"]


def test_a_certificate_that_is_not_there_is_told(tmp_path):
    given = {"tls.cert": ("none.pem", "test")}
    facts = facts_at(str(tmp_path / "data"), Config(given), {})
    assert "none.pem" in facts.reached.certificate_trouble


def test_syncs_are_measured_in_a_file_that_nobody_sees(tmp_path):
    found = syncs(str(tmp_path))
    assert len(found) == 21
    assert os.listdir(tmp_path) == []
    with pytest.raises(OSError, match="No such file"):
        syncs(str(tmp_path / "absent"))
