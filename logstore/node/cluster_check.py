"""Examines a cluster from a process that serves no clients."""

import asyncio
from collections.abc import Callable
from functools import partial
from random import SystemRandom
from secrets import token_hex
from typing import Any, Final

from logstore.clock import now_ms
from logstore.cluster.client import Client
from logstore.cluster.cluster_settings import ClusterSettings
from logstore.cluster.examination import Examination, Finding
from logstore.cluster.scratch import TOPIC, Scratch
from logstore.cluster.sockets import Sockets
from logstore.errors import Failed
from logstore.node.cluster import OWN_TOPICS, Around, heard
from logstore.node.roaming import GROUP
from logstore.turn import Turn

NAME_BYTES: Final = 8  # two simultaneous checks must not fence each other


def examine(settings: ClusterSettings) -> list[Finding]:
    """All findings, in order. Takes seconds, and over a minute if the cluster has faults."""
    return asyncio.run(_examine(settings))


async def _examine(settings: ClusterSettings) -> list[Finding]:
    loop = asyncio.get_running_loop()
    turn = Turn(loop)
    sockets = Sockets(loop, settings.tls, settings.server_name)
    client = Client(
        settings.bootstrap, Around(turn, sockets, partial(_work, loop, turn)), SystemRandom(),
        settings.credentials, settings.rack,
    )  # fmt: skip
    scratch = Scratch(client, f"{TOPIC.name}-{token_hex(NAME_BYTES)}", now_ms)
    try:
        told = partial(heard, loop)
        return await Examination(client, told, settings.name, OWN_TOPICS, GROUP, scratch).all()
    finally:
        client.close()
        turn.stop()


def _work(
    loop: asyncio.AbstractEventLoop,
    turn: Turn,
    job: Callable[[], Any],
    done: Callable[[Any], None],
) -> None:
    def run() -> None:
        try:
            result = job()
        except Exception as error:  # noqa: BLE001  whoever waits is told
            result = Failed(f"internal error: {error!r}")
        turn.soon(partial(done, result))

    loop.run_in_executor(None, run)
