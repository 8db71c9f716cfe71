"""The link between nodes over sockets, with TLS and without: one server, and one that asks it."""

import asyncio
from random import Random
from types import SimpleNamespace

import pytest
import uvloop
from relay_kit import SECRET
from tls_kit import InUse

from logstore.broker.queues.away.owner import FarOwner
from logstore.broker.queues.message import Showing
from logstore.budget import Budget
from logstore.cluster.peer import Identity, Peer
from logstore.cluster.sockets import Sockets
from logstore.counts.doors import DoorCounts
from logstore.errors import LogstoreError
from logstore.protocols.relay import doorway
from logstore.server import Server
from logstore.settings import StoreSettings
from logstore.slices import Slices
from logstore.turn import Turn

DEADLINE_S = 60


class Asker:
    """What a node has around its link."""

    def __init__(self, address, tls):
        loop = asyncio.get_running_loop()
        sockets = Sockets(loop, None if tls is None else tls.asks)
        self.news = asyncio.Event()
        around = SimpleNamespace(now=loop.time, call_at=loop.call_at, connect=sockets.connect)
        self.owner = FarOwner(iter(range(1, 1 << 40)), Turn(loop).soon, Showing(), lambda *_: None)
        told = SimpleNamespace(
            heard=self.owner.heard, drained=self.owner.drained, opened=self._opened, lost=self._lost
        )
        self.peer = Peer(b"b", address, Identity(b"a", SECRET), told, around, Random(1))

    def _opened(self, talk):
        self.owner.opened(talk)
        self.news.set()

    def _lost(self, why):
        self.owner.lost(why)
        self.news.set()

    async def until(self, ready):
        while self.owner.ready is not ready:
            self.news.clear()
            await self.news.wait()

    async def ask(self, content):
        future = asyncio.get_running_loop().create_future()
        self.owner.ask(1, content, future.set_result)
        return await future


def serve(address, tls):
    loop = asyncio.get_running_loop()
    turn = Turn(loop)
    house = SimpleNamespace(
        work=lambda *_: None, stopwatch=loop.time, slices=Slices(turn.soon),
        settings=StoreSettings(), figures=SimpleNamespace(door=lambda name: DoorCounts()),
    )  # fmt: skip
    door = doorway.made(
        house, b"b", SECRET, lambda *_: None,
        {1: lambda asker, content, then: then(asker.node + content[::-1])},
    )  # fmt: skip
    server = Server(loop, turn, Budget(1 << 30))
    return server, server.listen(*address, doorway.open(door), tls)


async def talk(tls):
    server, address = serve(("localhost" if tls else "127.0.0.1", 0), tls)
    asker = Asker((("localhost" if tls else "127.0.0.1"), address[1]), tls)
    await asker.until(True)
    assert await asker.ask(b"123") == b"a321"
    long = bytes(range(256)) * 40_000
    assert await asker.ask(long) == b"a" + long[::-1]
    many = [asker.ask(b"%d" % n) for n in range(300)]
    assert await asyncio.gather(*many) == [b"a" + (b"%d" % n)[::-1] for n in range(300)]
    waits = asyncio.ensure_future(asker.ask(long))
    await server.stop(1.0)
    assert isinstance(await waits, LogstoreError | bytes)
    await asker.until(False)
    server, _ = serve(address, tls)
    await asker.until(True)
    assert await asker.ask(b"123") == b"a321"
    asker.peer.close()
    await server.stop(1.0)


@pytest.mark.parametrize("tls", ["plain", "tls"], indirect=True)
def test_nodes_speak_and_find_each_other_again(tls):
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(talk(tls), DEADLINE_S))


def test_nodes_are_asked_for_no_certificate_where_clients_have_to_show_one(authority):
    tls = InUse(authority, clients=True, required=True)
    shown = SimpleNamespace(context=tls.unasking().context, whose=tls.whose, asks=tls.asks)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(talk(shown), DEADLINE_S))
