"""The one node as RabbitMQ's tools see it, and its use of the machine's resources."""

import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from logstore.errors import LogstoreError
from logstore.protocols.house import House
from logstore.usage import files_open, measure, memory_bytes_max, threads

NODE: Final = f"logstore@{os.uname().nodename}"
RABBITMQ: Final = "3.13.7"  # whose ways these are, where nothing else is set


@dataclass(frozen=True, slots=True)
class Node:
    """What the process knows about itself."""

    version: str = RABBITMQ
    cluster_name: str = ""
    path: str = ""  # of the data directory
    connections_max: int = 0
    free_bytes_min: int = 0  # while less is free, nobody may publish by AMQP
    free_bytes: Callable[[], int] = lambda: -1  # of the disk; -1: nobody knows
    clock: Callable[[], int] = lambda: 0  # ms since 1970

    @classmethod
    def of(cls, house: House) -> "Node":
        settings = house.settings

        def free_bytes() -> int:
            try:
                space = house.topics.space()
            except LogstoreError:
                return -1
            return space.usable_bytes if space.total_bytes else -1  # some file systems count none

        return cls(
            settings.amqp_server_version, house.store_id, house.path, settings.max_connections,
            settings.queue_disk_free_bytes, free_bytes, house.clock,
        )  # fmt: skip

    @property
    def disk_alarm(self) -> bool:
        """Whether so little is free that nobody may publish by AMQP."""
        return 0 <= self.free_bytes() < self.free_bytes_min


class Used(NamedTuple):
    """The resources of the machine that this process uses, and its limits."""

    memory_bytes: int
    memory_bytes_max: int
    files: int  # descriptors
    files_max: int
    threads: int
    processors: int


def used() -> Used:
    """Now: a few system calls, one for each directory of open files."""
    files_max, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Used(
        measure().resident_bytes,
        _memory_max(),
        files_open(),
        files_max,
        threads(),
        os.cpu_count() or 1,
    )


@cache
def _memory_max() -> int:
    return memory_bytes_max()
