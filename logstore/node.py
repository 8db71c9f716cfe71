"""One process that serves a data directory: opens it, wires the doors, stops in reverse order."""

import asyncio
import ctypes
import gc
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import uvloop

from logstore.broker.topic import now_ms
from logstore.errors import Failed
from logstore.open_topics import OpenTopics
from logstore.protocols.kafka.door import Door
from logstore.protocols.kafka.session import KafkaSession
from logstore.server import Limits, Server
from logstore.store import Store

# The flusher needs the interpreter twice per sync: at Python's own 5 ms it waits for it longer
# than for the disk.
SWITCH_INTERVAL_S: Final = 0.0002
WORKERS: Final = 4  # for what may not hold up the loop: making topics, looking into records
STOP_WITHIN_S: Final = 10.0

M_TRIM_THRESHOLD: Final = -1  # malloc.h
M_MMAP_THRESHOLD: Final = -3
REUSED_BYTES_MAX: Final = 32 << 20  # the most that glibc takes

log = logging.getLogger("logstore.node")


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the Kafka door is. Port 0: any free one."""

    host: str
    port: int


def _address(text: str) -> tuple[str, int] | None:
    """``host:port``; None for an empty text."""
    host, _, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if text else None


def _allow_many_files() -> None:
    """A connection is a file, too; the limit that most systems start with is for shells."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _reuse_memory() -> None:
    """Have large buffers come from memory that was used before.

    glibc maps what a fetch reads anew each time, and gives it back: every page of it faults, which
    costs as much as copying it. Elsewhere this changes nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, REUSED_BYTES_MAX)
        mallopt(M_TRIM_THRESHOLD, 2 * REUSED_BYTES_MAX)


class Node:
    """Serves a store that is open for writing."""

    def __init__(self, store: Store, kafka: Listen) -> None:
        self._store = store
        self._kafka = kafka
        self._workers = ThreadPoolExecutor(WORKERS, "worker")
        self._stopping: asyncio.Event

    def run(self, ready: Callable[[tuple[str, int]], None]) -> None:
        """Serve until SIGTERM, SIGINT or SIGHUP. ``ready(address)`` is called from within."""
        interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        gc.freeze()  # what is there now stays
        _allow_many_files()
        _reuse_memory()
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve(ready))
        finally:
            self._workers.shutdown()
            sys.setswitchinterval(interval)

    async def _serve(self, ready: Callable[[tuple[str, int]], None]) -> None:
        loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._stopping.set)
        settings = self._store.config.store
        server = Server(
            loop, Limits(settings.max_connections, settings.connections_max_idle_ms / 1000)
        )
        door = Door(
            OpenTopics(self._store, self._store.directory),
            settings,
            self._store.directory.store_id,
            self._store.path,
            now_ms,
            partial(self._work, loop),
        )
        try:
            address = self._listen(server, door)
            self._store.directory.announce({"kafka": f"{address[0]}:{address[1]}"})
            ready(address)
            await self._stopping.wait()
        finally:
            await server.stop(STOP_WITHIN_S)

    def _listen(self, server: Server, door: Door) -> tuple[str, int]:
        host, port = self._kafka.host, self._kafka.port
        advertised = _address(door.settings.kafka_advertised_address)
        try:
            return server.listen(
                host, port, lambda wake, local: KafkaSession(door, wake, advertised or local)
            )
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise Failed(
                f"{host}:{port}: can't listen there: {reason}; choose with --host and --kafka-port "
                f"(listen.host, kafka.port)"
            ) from None

    def _work(
        self,
        loop: asyncio.AbstractEventLoop,
        job: Callable[[], Any],
        done: Callable[[Any], None],
    ) -> None:
        def run() -> None:
            try:
                result = job()
            except Exception as error:
                log.exception("a bug in a worker")
                result = Failed(f"internal error: {error!r}")
            loop.call_soon_threadsafe(done, result)

        self._workers.submit(run)
