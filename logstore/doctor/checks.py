"""Judges the facts: one check for each row. Pure."""

import stat
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Final, Literal, NamedTuple

from logstore.budget import BUDGET_BYTES_MIN
from logstore.descriptors import shares
from logstore.doctor.facts import Facts
from logstore.platforms import KERNEL_TELLS, version_of

State = Literal["ok", "warning", "error"]
STATES: Final[tuple[State, ...]] = ("ok", "warning", "error")

LITTLE_ROOM: Final = 0.10  # of a file system; below it some get slow, and a burst fills it
LITTLE_FILES: Final = 0.05
LITTLE_MEMORY: Final = 128 << 20  # an idle server has 50 MiB
AHEAD_MS: Final = 60_000  # clocks of machines that share a disk differ by less
EPOCH_MS: Final = 1_704_067_200_000  # 2024: this program is younger
BEHIND: Final = 10_000  # commits; pages of the catalogue that are kept for one reader
TOO_FAST_US: Final = 20  # no disk answers a flush in less
SLOW_US: Final = 20_000

# Where syncs and locks are what they should be.
DISKS: Final = frozenset(
    {"ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs", "reiserfs", "ubifs"}
)
IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
OF_CONTAINERS: Final = frozenset({"overlay", "aufs", "fuse-overlayfs", "fuse.fuse-overlayfs"})
# Locks and mapped files of two machines do not see each other.
OF_NETWORKS: Final = frozenset(
    {
        "nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "fuse.ceph", "fuse.glusterfs",
        "fuse.sshfs", "lustre", "gpfs",
    }
)  # fmt: skip
NO_BARRIER: Final = frozenset({"nobarrier", "barrier=0", "barrier=none"})


class Finding(NamedTuple):
    """The result of a check. ``advice``: what to do; "" if nothing is necessary."""

    name: str
    state: State
    found: str
    advice: str = ""


def worst(findings: Iterable[Finding]) -> State:
    """The state of all together."""
    return max((it.state for it in findings), key=STATES.index, default="ok")


def shown(facts: Facts) -> dict[str, object]:
    """What is found, as JSON."""
    found = examine(facts)
    return {"state": worst(found), "checks": [it._asdict() for it in found]}


def examine(facts: Facts) -> list[Finding]:
    """In the order of the table."""
    found = []
    for name, check in CHECKS.items():
        found += [Finding(name, *rest) for rest in check(facts)]
    return found


Found = Iterable[tuple[State, str, str]]


def _versions(facts: Facts) -> Found:
    machine = facts.machine
    text = f"logstore {machine.version}, Python {machine.python}, {machine.system} {machine.kernel}"
    kernel = version_of(machine.kernel)
    if machine.system != "Linux":
        yield "warning", text, (
            f"logstore is tested on Linux, and follows rules on {machine.system}: see "
            f"docs/deployment.md"
        )  # fmt: skip
    elif kernel and kernel < KERNEL_TELLS:
        yield "warning", text, (
            "use Linux 4.17 or later: before it, the kernel may not report a write that failed"
        )  # fmt: skip
    else:
        yield "ok", text, ""


def _platform(facts: Facts) -> Found:
    for rule in facts.machine.lacks:
        text = f"no {rule.name}: {rule.instead}"
        yield ("warning" if rule.promise else "ok"), text, rule.promise
    if not facts.machine.lacks:
        yield "ok", "all that logstore uses where it can is there", ""


def _settings(facts: Facts) -> Found:
    if facts.settings_trouble:
        yield "error", facts.settings_trouble, "correct it: no command works with it"


def _directory(facts: Facts) -> Found:
    place = facts.place
    match place.kind:
        case "absent" if not place.writable:
            yield "error", f"{place.path}: does not exist, and can't be made", (
                "make it for the user that logstore runs as, or name another one"
            )  # fmt: skip
        case "absent" | "empty":
            yield "ok", f"{place.path}: no store yet; the first `logstore serve` makes one", ""
        case "bare":
            yield "ok", f"{place.path}: partitions of Kafka without a catalogue: only read", ""
        case "foreign":
            yield "error", f"{place.path}: holds other files, and no store", (
                "name an empty directory, or one that does not exist"
            )  # fmt: skip
        case "file":
            yield "error", f"{place.path}: not a directory", "name a data directory"
        case "unreadable":
            yield "error", f"{place.path}: {place.trouble}", (
                "name a data directory, and run as the user that logstore runs as"
            )  # fmt: skip
        case _:
            yield from _schema(facts)
    for line in place.leftovers:
        yield "warning", line, "remove it by hand, once what keeps it is gone"


def _schema(facts: Facts) -> Found:
    place = facts.place
    text = f"{place.path}: a store of schema {place.schema}"
    if place.number_taken:
        yield "ok", f"{place.path}: a store", ""
    elif place.schema is None:
        yield "error", f"{place.path}: {place.trouble}", "no process can open it as it is"
    elif place.schema > place.schema_here:
        yield "error", text, (
            f"use the newer logstore that wrote it: this one knows schema {place.schema_here}"
        )  # fmt: skip
    elif place.schema < place.schema_here:
        yield "warning", text, (
            f"make a backup first: whoever opens it for writing raises it to {place.schema_here}"
        )  # fmt: skip
    else:
        yield "ok", text, ""


def _writer(facts: Facts) -> Found:
    place, owner = facts.place, facts.place.owner
    if owner is None:
        if place.kind == "store":
            unfinished = "" if place.settled else "; whoever opens it next recovers it first"
            yield "ok", f"no process has it open for writing{unfinished}", ""
    elif owner.pid == 0:
        yield "ok", f"{owner} has it open for writing", ""
    else:
        doors = ", ".join(f"{name} {at}" for name, at in owner.endpoints.items())
        yield "ok", f"{owner} writes it{f', at {doors}' if doors else ''}", ""
    if place.number_taken:
        yield "warning", (
            "another pid namespace has a process of the same number as this one at the store"
        ), (
            "share a pid namespace (docker run --pid, shareProcessNamespace) or run with --init: "
            "commands go on as a child process, and programs with the library are refused"
        )  # fmt: skip


def _reader(facts: Facts) -> Found:
    oldest = facts.place.oldest_reader
    if oldest is not None and oldest[1] > BEHIND:
        text = f"pid {oldest[0]} reads the catalogue as it was {oldest[1]:,} commits ago"
        yield "warning", text, "end that process: the catalogue grows by what it holds on to"


def _owner(facts: Facts) -> Found:
    place, uid = facts.place, facts.machine.uid
    if place.kind not in ("store", "bare", "empty"):
        return
    mode = stat.S_IMODE(place.mode)
    if uid not in (0, place.uid):
        yield "error", f"it belongs to user {place.uid}, and this is user {uid}", (
            "run as the user that logstore runs as: all processes of a store are one user's"
        )  # fmt: skip
    elif mode & 0o077 and place.kind == "store":
        yield "warning", f"other users can look into it (mode {mode:o})", f"chmod 700 {place.path}"
    if not place.writable and place.kind != "bare":
        yield "error", "it can't be written", "mount it for writing, or name another directory"


def _file_system(facts: Facts) -> Found:
    mount = facts.place.mount
    kind, text = mount.type, f"{mount.type or 'unknown'} at {mount.point or '?'}"
    if "ro" in mount.options and facts.place.kind != "bare":
        yield "error", f"{text} is mounted read-only", f"mount -o remount,rw {mount.point}"
    if NO_BARRIER & mount.options:
        yield "error", f"{text} has no write barriers: acknowledged records may be lost", (
            "mount it without nobarrier"
        )  # fmt: skip
    if kind in DISKS:
        yield "ok", text, ""
    elif kind in IN_MEMORY:
        yield "warning", f"{text}: in memory, and gone when the machine stops", (
            "use a disk, but for tests"
        )  # fmt: skip
    elif kind in OF_CONTAINERS:
        yield "warning", f"{text}: a container's own layer, and gone with the container", (
            "mount a volume there"
        )  # fmt: skip
    elif kind in OF_NETWORKS:
        yield "error", f"{text}: of a network: locks and mapped files do not hold there", (
            "use a disk of this machine"
        )  # fmt: skip
    else:
        yield "warning", f"{text}: nobody has tried this one", (
            "see that locks, mapped files and fdatasync work there: ext4, xfs, btrfs and zfs do"
        )  # fmt: skip


def _room(facts: Facts) -> Found:
    room = facts.place.room
    if room is None:
        return
    share = room.free_bytes / max(room.total_bytes, 1)
    text = f"{_size(room.free_bytes)} of {_size(room.total_bytes)} are free ({share:.0%})"
    least = facts.settings.queue_disk_free_bytes
    if room.free_bytes < least:
        yield "error", text, (
            f"make room: below {_size(least)} (queue.disk.free.bytes) RabbitMQ clients may not "
            f"publish"
        )  # fmt: skip
    elif share < LITTLE_ROOM:
        yield "warning", text, "make room, or set retention.bytes of large topics"
    else:
        yield "ok", text, ""
    if room.files and room.files_free < LITTLE_FILES * room.files:
        yield "warning", f"{room.files_free:,} of {room.files:,} files (inodes) are left", (
            "make room: each segment is three files"
        )  # fmt: skip


def _syncs(facts: Facts) -> Found:
    if not facts.syncs_us:
        return
    times = sorted(facts.syncs_us)
    middle, most = times[len(times) // 2], times[-1]
    text = f"a sync of 4 KiB takes {_ms(middle)} ms, at most {_ms(most)} ms"
    if facts.place.mount.type in IN_MEMORY:
        yield "ok", text, ""
    elif middle < TOO_FAST_US:
        yield "warning", f"{text}: faster than a disk can be", (
            "see that disk and hypervisor do not acknowledge flushes that they ignore"
        )  # fmt: skip
    elif middle > SLOW_US:
        yield "warning", text, (
            "use a faster disk: nothing is acknowledged sooner than its sync is done"
        )  # fmt: skip
    else:
        yield "ok", text, ""


def _files(facts: Facts) -> Found:
    machine, settings = facts.machine, facts.settings
    found = shares(settings.files_open_max, machine.files_limit)
    open_ = f", {machine.files_open:,} open" if facts.served else ""
    text = f"{machine.files_limit:,} files may be open{open_}"
    if found.connections < settings.max_connections:
        yield "warning", (
            f"{text}: {found.connections:,} connections fit, and max.connections is "
            f"{settings.max_connections:,}"
        ), (
            "raise it: ulimit -n, LimitNOFILE= of systemd, --ulimit nofile of Docker; or lower "
            "max.connections"
        )  # fmt: skip
    else:
        yield "ok", text, ""
    most, segment = machine.file_bytes_limit, settings.queue_segment_bytes
    if most is not None and most < 2 * segment:
        yield (
            "error",
            f"a file may have {_size(most)} at the most (ulimit -f)",
            "ulimit -f unlimited",
        )


def _memory(facts: Facts) -> Found:
    bytes_, asked = facts.machine.memory_bytes, facts.settings.memory_clients_max_bytes
    text = f"{_size(bytes_)} may be used"
    if bytes_ < LITTLE_MEMORY:
        yield "warning", text, f"give it {_size(LITTLE_MEMORY)} at least"
    elif asked > bytes_ // 2:
        yield "warning", f"{text}, and clients may take {_size(asked)} of it", (
            f"lower memory.clients.max.bytes ({_size(BUDGET_BYTES_MIN)} at least), or give it more"
        )  # fmt: skip
    else:
        yield "ok", text, ""


def _clock(facts: Facts) -> Found:
    machine = facts.machine
    ahead_s = (facts.place.newest_ms - machine.now_ms) // 1000
    if machine.now_ms < EPOCH_MS:
        yield "error", "the clock stands before 2024", (
            "set it: records get its time, and retention goes by it"
        )  # fmt: skip
    elif ahead_s * 1000 > AHEAD_MS:
        yield "warning", f"the directory was last written {ahead_s:,} s in the future", (
            "set the clock (it has gone back, or another machine's is ahead): what is stamped in "
            "the future is kept for longer"
        )  # fmt: skip
    elif machine.clock_synchronized is False:
        yield "warning", "the clock is not synchronized", "run chrony, ntpd or systemd-timesyncd"
    else:
        known = "" if machine.clock_synchronized is None else ", synchronized"
        yield "ok", f"the clock is right as far as can be seen{known}", ""
    if machine.clocksource in ("hpet", "acpi_pm"):
        yield "warning", f"the clock source is {machine.clocksource}: each look at it is slow", (
            "have the kernel use tsc or kvm-clock (clocksource=)"
        )  # fmt: skip


def _reached(facts: Facts) -> Found:
    reached, settings = facts.reached, facts.settings
    hosts_of = {name: at.rpartition(":")[0].strip("[]") for name, at in reached.addresses.items()}
    exposed = {name: host for name, host in hosts_of.items() if not _is_loopback(host)}
    if not exposed:
        if reached.addresses:
            yield "ok", "from this machine alone", ""
        return
    hosts = ", ".join(dict.fromkeys(exposed.values()))
    if not reached.users:
        yield "error", f"whoever reaches {hosts} may do everything: there are no users", (
            "make one: logstore user add NAME --tag administrator"
        )  # fmt: skip
    plain = [name for name in exposed if not name.endswith("-tls")]
    if reached.users and plain and not reached.tls:
        yield "warning", f"what clients send to {hosts} is not encrypted", (
            "set tls.cert and tls.key, and the plain ports to -1"
        )  # fmt: skip
    elif reached.users:
        yield "ok", f"from other machines, by {hosts}", ""
    if "kafka" in exposed and facts.machine.container and not settings.kafka_advertised_address:
        yield "warning", (
            "in a container, Kafka clients are told the address that they came by, and come by "
            "another one where a port is mapped"
        ), "set kafka.advertised.address to what they can reach"  # fmt: skip


def _links(facts: Facts) -> Found:
    """Of the node of a cluster with the others."""
    settings, reached = facts.settings, facts.reached
    if not settings.cluster_bootstrap_servers:
        return
    hosts = {at.rpartition(":")[0].strip("[]") for at in reached.addresses.values()}
    exposed = sorted(it for it in hosts or {settings.listen_host} if not _is_loopback(it))
    if not exposed:
        yield "ok", "other nodes reach this one from this machine alone", ""
        return
    if not (settings.cluster_link_secret_file or settings.cluster_sasl_user):
        yield "error", f"whoever reaches {exposed[0]} is taken for a node: nodes have no secret", (
            "set cluster.link.secret.file at all nodes, or log in at the cluster: cluster.sasl.user"
        )  # fmt: skip
    if not settings.cluster_link_tls:
        yield "warning", "what nodes say to each other is not encrypted", (
            "set cluster.link.tls, cluster.link.tls.ca, tls.cert and tls.key at all nodes"
        )  # fmt: skip
    elif settings.cluster_link_secret_file or settings.cluster_sasl_user:
        yield "ok", "nodes know each other by a secret, and speak with TLS", ""


def _told(facts: Facts) -> Found:
    for host in facts.reached.unresolved:
        yield "error", f"Kafka clients are told to connect to {host}, which has no address here", (
            "correct kafka.advertised.address, or its name service"
        )  # fmt: skip


def _certificate(facts: Facts) -> Found:
    if facts.reached.certificate_trouble:
        yield "error", facts.reached.certificate_trouble, "no server starts with it"
    for line in facts.reached.certificate_doubts:
        yield "warning", f"the certificate {line}", "renew it: it is loaded without a restart"


def _upkeep(facts: Facts) -> Found:
    for line in facts.place.upkeep_failures:
        yield "warning", line, "see the log of the server, and logstore verify"


CHECKS: Final[dict[str, Callable[[Facts], Found]]] = {
    "versions": _versions,
    "platform": _platform,
    "settings": _settings,
    "directory": _directory,
    "writer": _writer,
    "reader": _reader,
    "owner": _owner,
    "file system": _file_system,
    "room": _room,
    "syncs": _syncs,
    "files": _files,
    "memory": _memory,
    "clock": _clock,
    "reached": _reached,
    "links": _links,
    "advertised": _told,
    "certificate": _certificate,
    "upkeep": _upkeep,
}


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _size(count: int) -> str:
    if count < 1024:
        return f"{count} B"
    power = min((count.bit_length() - 1) // 10, 4)
    return f"{count / 1024**power:.1f} {('KiB', 'MiB', 'GiB', 'TiB')[power - 1]}"


def _ms(microseconds: int) -> str:
    return f"{microseconds / 1000:.2f}"
