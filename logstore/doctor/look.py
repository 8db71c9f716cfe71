"""Gathers the facts. Changes nothing; only ``syncs`` writes, into a file without a name.

It may take long if a disk or a name service does, so it is for a thread that no client waits for.
"""

import ctypes
import os
import platform
import re
import resource
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import perf_counter_ns, time
from typing import Final

from logstore import platforms, portable
from logstore.clock import now_ms
from logstore.config import Config
from logstore.descriptors import files_max
from logstore.doctor.facts import Facts, Machine, Mount, Place, Reached, Room
from logstore.errors import LogstoreError
from logstore.owner import Owner
from logstore.settings import StoreSettings
from logstore.storage.catalog import SCHEMA
from logstore.storage.directory import LocalDirectory
from logstore.storage.disk import Disk
from logstore.storage.environment import is_number_taken
from logstore.storage.lock import owner_of
from logstore.storage.names import CATALOG, LOCK, WATERMARKS
from logstore.storage.opening import kind_of
from logstore.storage.ran import last
from logstore.storage.reader import ReaderDirectory
from logstore.storage.users import any_users
from logstore.usage import files_open, memory_bytes_max
from logstore.version import VERSION

SYNCS: Final = 21  # measured; odd, so that one is in the middle
SYNC_BYTES: Final = 4096
UNKNOWN: Final = Mount("", "", frozenset())
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")
TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronized


class _Unwritten(Disk):
    """A reader that may write does so to the catalogue; beside a writer it has to, to be safe."""

    def writable(self, path: str) -> bool:
        return False


def facts_of(directory: LocalDirectory, users: bool) -> Facts:
    """Of the process that serves it. ``users``: whether one has to log in. Raises LogstoreError."""
    path, settings = directory.path, directory.config.store
    place = _opened(place_of(path, directory.disk), directory)
    endpoints = {} if place.owner is None else place.owner.endpoints
    return Facts(
        place=place,
        machine=machine(served=True),
        reached=reached(settings, path, users, endpoints),
        settings=settings,
        served=True,
    )


def facts_at(
    path: str,
    config: Config,
    addresses: Mapping[str, str],
    trouble: str = "",
    syncs_us: Sequence[int] = (),
) -> Facts:
    """Of a directory that no server has. ``addresses``: host:port where one would listen.

    ``trouble``: why the settings can't be had, so that ``config`` has the defaults.
    """
    place, users = place_of(path, Disk()), False
    if place.kind == "store" and not place.number_taken:  # else it can't be opened from here
        try:
            disk = _Unwritten() if place.owner is None else Disk()
            directory = ReaderDirectory(path, config, disk, clock=now_ms)
        except LogstoreError as error:
            place = replace(place, trouble=str(error).removeprefix(f"{path}: "))
        else:
            try:
                place = replace(_opened(place, directory), settled=directory.settled)
                users = directory.groups is not None and any_users(directory.groups.environment)
            finally:
                directory.close()
    return Facts(
        place=place,
        machine=machine(served=False),
        reached=reached(config.store, path, users, addresses),
        settings=config.store,
        settings_trouble=trouble,
        syncs_us=syncs_us,
    )


def place_of(path: str, disk: Disk) -> Place:
    """Of a directory, whatever it is."""
    kind, trouble = "unreadable", ""
    try:
        kind = kind_of(path, disk)
        if kind == "absent":
            os.stat(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        kind, trouble = "unreadable", error.strerror or str(error)
    there = path
    while not os.path.exists(there) and os.path.dirname(os.path.abspath(there)) != there:
        there = os.path.dirname(os.path.abspath(there))  # where it would be made
    facts = os.stat(there)
    return Place(
        path=path,
        kind=kind,
        mount=mount_of(there, _read("/proc/self/mountinfo")),
        room=room_of(there),
        trouble=trouble,
        writable=os.access(there, os.W_OK) and os.path.isdir(there),
        mode=facts.st_mode,
        uid=facts.st_uid,
        newest_ms=_newest_ms(path),
        owner=_owner(path, disk),
        number_taken=is_number_taken(disk, os.path.join(path, CATALOG)),
        schema_here=SCHEMA,
    )


def _opened(place: Place, directory: LocalDirectory) -> Place:
    ran = last(directory.noted_upkeep())
    return replace(
        place,
        schema=directory.schema,
        oldest_reader=directory.oldest_reader(),
        leftovers=tuple(map(str, directory.leftovers())),
        upkeep_failures=() if ran is None else ran.failures,
    )


def _owner(path: str, disk: Disk) -> Owner | None:
    with suppress(OSError):
        return owner_of(disk, os.path.join(path, LOCK))
    return None


def _newest_ms(path: str) -> int:
    times = [0]
    for name in (CATALOG, LOCK, WATERMARKS):
        with suppress(OSError):
            times.append(int(os.stat(os.path.join(path, name)).st_mtime * 1000))
    return max(times)


def mount_of(path: str, table: str) -> Mount:
    """The last one that is mounted nearest above it. ``table``: /proc/self/mountinfo."""
    path, found = os.path.realpath(path), UNKNOWN
    for line in table.splitlines():
        before, separator, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if not separator or len(fields) < 6 or not kind:
            continue
        point = _ESCAPED.sub(lambda it: chr(int(it[1], 8)), fields[4])  # \\040 is a space
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(found.point):
            options = {*fields[5].split(","), *(kind[2].split(",") if len(kind) > 2 else ())}
            found = Mount(kind[0], point, frozenset(options))
    return found


def room_of(path: str) -> Room | None:
    try:
        facts = os.statvfs(path)
    except OSError:
        return None
    size = facts.f_frsize
    return Room(facts.f_blocks * size, facts.f_bavail * size, facts.f_files, facts.f_favail)


def machine(*, served: bool) -> Machine:
    """``served``: by this process; else what a server may have that is begun as this one was."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return Machine(
        version=VERSION,
        python=platform.python_version(),
        kernel=platform.release(),
        uid=os.geteuid(),
        now_ms=now_ms(),
        clock_synchronized=_synchronized(),
        clocksource=_read(
            "/sys/devices/system/clocksource/clocksource0/current_clocksource"
        ).strip(),
        files_limit=soft if served else files_max(hard),  # a server takes what it may
        files_open=files_open() if served else 0,
        file_bytes_limit=None if most == resource.RLIM_INFINITY else most,
        memory_bytes=memory_bytes_max(),
        container=os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv"),
        system=platforms.SYSTEM,
        lacks=[it for it in platforms.rules() if not it.there],
    )


def _synchronized() -> bool | None:
    """As adjtimex(2) says, asked for nothing but that."""
    try:
        call = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    state = int(call(ctypes.create_string_buffer(512)))  # struct timex, all zero: only read
    return None if state < 0 else state != TIME_ERROR


def reached(
    settings: StoreSettings, path: str, users: bool, addresses: Mapping[str, str]
) -> Reached:
    """With a look at its certificate, and at the names that clients are told."""
    told = [settings.kafka_advertised_address, settings.kafka_tls_advertised_address]
    hosts = dict.fromkeys(it.rpartition(":")[0].strip("[]") for it in told if it)
    trouble, doubts = _certificate(settings, path)
    return Reached(
        addresses, users, [it for it in hosts if not _resolves(it)], doubts, trouble,
        tls=bool(settings.tls_cert),
    )  # fmt: skip


def _certificate(settings: StoreSettings, path: str) -> tuple[str, Sequence[str]]:
    if not any((settings.tls_cert, settings.tls_key, settings.tls_client_ca)):
        return "", ()
    from logstore.certificates import Certificates, doubts

    try:
        found = Certificates.of(settings, path)
    except LogstoreError as error:
        return str(error), ()
    if found is None:
        return "", ()
    host = settings.kafka_tls_advertised_address.rpartition(":")[0].strip("[]")
    return "", doubts(found.loaded, [host] if host else [], time())


def _resolves(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None))
    except (OSError, UnicodeError):
        return False


def syncs(path: str) -> list[int]:
    """Microseconds that each of some writes with their syncs takes, in a file without a name there.

    Raises OSError.
    """
    found = []
    fd = portable.open_nameless(path)
    try:
        for number in range(SYNCS):
            began = perf_counter_ns()
            os.pwrite(fd, bytes(SYNC_BYTES), number * SYNC_BYTES)
            portable.sync(fd)
            found.append((perf_counter_ns() - began) // 1000)
    finally:
        os.close(fd)
    return found


def _read(path: str) -> str:
    try:
        return os.fsdecode(Path(path).read_bytes())
    except OSError:
        return ""
