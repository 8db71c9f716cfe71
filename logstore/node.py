"""One process that serves a data directory: opens it, wires the doors, stops in reverse order."""

import asyncio
import contextlib
import ctypes
import gc
import logging
import math
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import uvloop

from logstore.broker.topic import now_ms
from logstore.errors import Failed
from logstore.node_groups import Groups
from logstore.protocols.kafka.door import Door
from logstore.protocols.kafka.session import KafkaSession
from logstore.protocols.resp import door as resp
from logstore.protocols.resp.session import RespSession
from logstore.server import Limits, NewSession, Server
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
    """Where the doors are. Port 0: any free one; -1: no such door."""

    host: str
    kafka_port: int
    resp_port: int = -1


# Where the doors are, by what they speak: ``kafka``, ``resp``.
Addresses = Mapping[str, tuple[str, int]]


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

    def __init__(self, store: Store, listen: Listen) -> None:
        self._store = store
        self._host = listen.host
        self._ports = listen
        self._workers = ThreadPoolExecutor(WORKERS, "worker")
        self._stopping: asyncio.Event

    def run(self, ready: Callable[[Addresses], None]) -> None:
        """Serve until SIGTERM, SIGINT or SIGHUP. ``ready(addresses)`` is called from within."""
        interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        gc.freeze()  # what is there now stays
        _allow_many_files()
        _reuse_memory()
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve(ready))
        finally:
            self._workers.shutdown(cancel_futures=True)
            self._store.topics_open.refuse(None)
            sys.setswitchinterval(interval)

    async def _serve(self, ready: Callable[[Addresses], None]) -> None:
        loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._stopping.set)
        settings = self._store.config.store
        server = Server(loop)
        topics = self._store.topics_open
        groups = Groups(loop, self._store)
        door = Door(
            topics,
            groups.coordinator,
            settings,
            self._store.directory.store_id,
            self._store.path,
            now_ms,
            partial(self._work, loop),
        )
        try:
            groups.start()
            addresses = {"kafka": self._open_kafka(server, door)}
            if self._ports.resp_port >= 0:
                addresses["resp"] = self._open_resp(server, loop)
            self._store.directory.writable().announce(
                {name: f"{host}:{port}" for name, (host, port) in addresses.items()}
            )
            ready(addresses)
            await self._stopping.wait()
        finally:
            try:
                await server.stop(STOP_WITHIN_S)
            finally:
                # What workers are at still, nobody waits for any more.
                topics.refuse("the server stops")
                groups.close()
                self._store.channels.soon = None

    def _open_kafka(self, server: Server, door: Door) -> tuple[str, int]:
        settings = door.settings
        advertised = _address(settings.kafka_advertised_address)
        return self._listen(
            server,
            self._ports.kafka_port,
            "--kafka-port (kafka.port)",
            lambda link: KafkaSession(
                door, link.wake, advertised or link.address, link.peer_address
            ),
            Limits(settings.max_connections, settings.connections_max_idle_ms / 1000),
        )

    def _open_resp(self, server: Server, loop: asyncio.AbstractEventLoop) -> tuple[str, int]:
        settings, channels = self._store.config.store, self._store.channels
        # A subscriber may be silent for ever.
        crowd = Limits(settings.resp_maxclients, math.inf, "resp.maxclients", resp.TOO_MANY)
        unread = resp.Unread.parse(settings.resp_client_output_buffer_limit)
        assert unread is not None, "the setting's pattern lets nothing else through"
        door = resp.Door(
            channels,
            resp.Limits(crowd, settings.resp_proto_max_bulk_len, unread),
            resp.Facts(os.getpid(), self._store.directory.store_id, self._store.path),
            now_ms,
        )
        address = self._listen(
            server,
            self._ports.resp_port,
            "--resp-port (resp.port; -1: no Redis door)",
            lambda link: RespSession(door, link),
            crowd,
        )
        here = threading.get_ident()

        def end_turn() -> None:
            with channels.lock:
                channels.end_turn()

        def soon() -> None:
            """At the end of the loop's turn, so that what many publish in it goes out at once."""
            call = loop.call_soon if threading.get_ident() == here else loop.call_soon_threadsafe
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
                call(end_turn)

        channels.soon = soon
        channels.notify = frozenset(settings.notify)
        self._store.directory.writable().rolled = lambda log, base_offset: channels.tell(
            "segments", "segment-rolled", f"{log} {base_offset}"
        )
        return address

    def _listen(
        self, server: Server, port: int, chosen_by: str, new_session: NewSession, limits: Limits
    ) -> tuple[str, int]:
        try:
            return server.listen(self._host, port, new_session, limits)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise Failed(
                f"{self._host}:{port}: can't listen there: {reason}; choose with --host "
                f"(listen.host) and {chosen_by}"
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
