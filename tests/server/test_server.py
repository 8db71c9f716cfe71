"""The server with a protocol of five lines: what a second door needs is what the session says."""

import asyncio
import contextlib
import gc
import logging
import os
import socket
import struct
import tempfile
import threading
import weakref

import pytest
from line_server import BOTH, DEADLINE_S, Lines, Piece, limited, line, plainly, serving

from logstore import connection as connection_module
from logstore.access.quotas import Turned
from logstore.budget import PATIENCE_S
from logstore.protocols.session import Doorway, Limits
from logstore.server import CLOSED_TOLD_MAX, REASON_SHOWN, SWEEP_S, TURNED_MAX

MIB = 1 << 20


@serving
async def test_lines_are_answered_in_order(server, connect):
    reader, writer = await connect()
    writer.write(b"one\ntwo\nthr")
    assert [await line(reader), await line(reader)] == [b"ONE\n", b"TWO\n"]
    writer.write(b"ee\n")
    assert await line(reader) == b"THREE\n"
    writer.close()


@serving
async def test_a_long_message_gets_its_room(server, connect):
    reader, writer = await connect()
    for size in (100, 300_000, 10 * MIB, 5, 300_000):
        writer.write(b"x" * size + b"\nshort\n")
        assert await reader.readexactly(size + 1) == b"X" * size + b"\n"
        assert await line(reader) == b"SHORT\n"
    writer.close()


@serving
async def test_what_a_session_keeps_of_a_buffer_stays_as_it_is(server, connect):
    reader, writer = await connect()
    for size in (10, 1000, 3 * MIB):
        for byte in (b"a", b"b"):
            writer.write(b"keep" + byte * size + b"\nbehind " + byte * 500 + b"\n")
            assert len(await reader.readexactly(size + 5)) == size + 5
            assert await line(reader) == b"BEHIND " + byte.upper() * 500 + b"\n"
    kept = [bytes(it) for it in Lines.last.views]
    sizes = [(size, byte) for size in (10, 1000, 3 * MIB) for byte in (b"a", b"b")]
    assert kept == [b"keep" + byte * size for size, byte in sizes]
    writer.close()


@serving
async def test_an_answer_can_come_from_another_thread(server, connect):
    reader, writer = await connect()
    writer.write(b"hold\nbehind\n")
    writer.write(b"x" * 100_000 + b"\n")
    await _until(lambda: Lines.living and Lines.last.held)
    thread = threading.Thread(target=Lines.last.release)
    thread.start()
    assert [await line(reader), await line(reader)] == [b"RELEASED\n", b"BEHIND\n"]
    assert await reader.readexactly(100_001)
    thread.join()
    writer.close()


@serving
async def test_a_deadline_is_kept(server, connect):
    reader, writer = await connect()
    writer.write(b"later\nbehind\n")
    assert [await line(reader), await line(reader)] == [b"LATE\n", b"BEHIND\n"]
    writer.close()


@serving
async def test_what_a_session_does_not_take_is_not_read(server, connect):
    reader, writer = await connect()
    writer.write(b"hold\n")
    await _until(lambda: Lines.living and Lines.last.held)
    session, sent = Lines.last, 0
    chunk = b"x" * 999 + b"\n"
    while True:  # the sockets' buffers fill up, and then no more
        writer.write(chunk * 1000)
        sent += len(chunk) * 1000
        try:
            await asyncio.wait_for(writer.drain(), 0.3)
        except TimeoutError:
            break
        assert sent < 64 * MIB
    session.release()
    assert await line(reader) == b"RELEASED\n"
    await reader.readexactly(sent)
    assert session.taken == sent + 5
    writer.close()


@serving
async def test_who_does_not_read_holds_up_nobody_else(server, connect):
    _, slow = await connect()
    slow.write(b"give 200000\nmore\n")  # 200 MB
    reader, writer = await connect()
    for _ in range(50):
        writer.write(b"hello\n")
        assert await line(reader) == b"HELLO\n"
    slow.transport.abort()
    writer.close()


@serving
async def test_a_reader_that_is_slow_gets_all(server, connect):
    reader, writer = await connect()
    writer.write(b"give 20000\nend of it\n")
    assert await reader.readexactly(20_000_000) == bytes(20_000_000)
    assert await line(reader) == b"END OF IT\n"
    writer.close()


@BOTH
def test_a_connection_whose_turns_are_long_gives_way_and_goes_on(monkeypatch, tls):
    clock = iter(range(10**9))
    monkeypatch.setattr(
        "logstore.connection.monotonic", lambda: next(clock)
    )  # each is over the time

    @serving
    async def test(server, connect):
        reader, writer = await connect()
        writer.write(b"give 20000\nend of it\n")
        await _until(lambda: server._connections and Lines.last.taken)
        other_reader, other = await connect()
        other.write(b"hello\n")
        assert await line(other_reader) == b"HELLO\n"
        assert await reader.readexactly(20_000_000) == bytes(20_000_000)
        assert await line(reader) == b"END OF IT\n"
        for it in (writer, other):
            it.close()

    test(tls)


@plainly
async def test_a_peer_that_has_said_all_is_still_answered(server, connect):
    reader, writer = await connect()
    writer.write(b"one\nhold\n")
    writer.write_eof()
    assert await reader.read() == b"ONE\nFINISHED\n"
    writer.close()


@serving
async def test_a_connection_that_is_gone_is_no_garbage(server, connect):
    """Each had its account and was had by it: until a full collection, which an idle server does
    not make, the memory around a thousand of them was kept.
    """
    gc.collect()
    gc.disable()
    try:
        gone = []
        for words in (b"one\n", b"end\n", b"x" * 300_000):
            reader, writer = await connect()
            await _until(lambda: server._connections)
            gone += map(weakref.ref, server._connections)
            writer.write(words)
            await _until(lambda: Lines.last.seen)
            if words == b"one\n":
                assert await line(reader) == b"ONE\n"
            writer.close()
            await _until(lambda: not server._connections)
            Lines.last = None
        await _until(lambda: not any(it() for it in gone))
    finally:
        gc.enable()


@serving
async def test_a_session_that_ends_says_its_last_words_first(server, connect):
    reader, writer = await connect()
    writer.write(b"one\nend\nnever\n")
    assert await reader.read() == b"ONE\nEND\nNEVER\n"
    writer.close()


@pytest.mark.parametrize("word", [b"bug", b"broken"])
@BOTH
def test_a_fault_ends_its_own_connection_with_one_line(word, caplog, tls):
    @serving
    async def test(server, connect):
        other_reader, other = await connect()
        reader, writer = await connect()
        writer.write(word + b"\n")
        assert await reader.read() == b""
        other.write(b"still here\n")
        assert await line(other_reader) == b"STILL HERE\n"
        other.close()
        writer.close()

    test(tls)
    [record] = caplog.records
    assert ("that is no line" if word == b"broken" else "a bug ended") in record.getMessage()


def test_each_door_tells_what_becomes_of_its_connections_as_far_as_that_is_asked_for(caplog):
    @plainly
    @limited(name="kafka", connections_max=1)
    async def test(server, connect):
        reader, writer = await connect()
        writer.write(b"hello\n")
        await line(reader)
        _, refused = await connect()
        await _until(lambda: server._listening[0].refused)
        refused.close()
        writer.close()
        await _until(lambda: not server._connections)
        reader, writer = await connect()
        writer.write(b"because of this\n")
        await reader.read()
        writer.close()

    test(None)
    assert [(it.levelname, it.name) for it in caplog.records] == [
        ("WARNING", "logstore.kafka")
    ] * 2  # as always
    caplog.clear()
    caplog.set_level(logging.INFO, "logstore.kafka")
    test(None)
    told = [(it.levelname, it.getMessage().split(": ", 1)[1].split(" ")[0], it.facts["door"])
            for it in caplog.records]  # fmt: skip
    assert told == [
        ("INFO", "connected", "kafka"),
        ("WARNING", "refused:", "kafka"),
        ("INFO", "disconnected", "kafka"),
        ("INFO", "connected", "kafka"),
        ("WARNING", "connection", "kafka"),
    ]
    gone = caplog.records[2]
    assert gone.getMessage().endswith("6 bytes in, 6 bytes out")
    assert (gone.facts["bytes_in"], gone.facts["bytes_out"]) == (6, 6)
    assert gone.facts["peer"] == caplog.records[0].facts["peer"]


def test_a_crowd_that_is_sent_away_does_not_fill_the_log(caplog):
    """A peer that has not logged in may say of itself what it likes, and come again."""

    @plainly
    async def test(server, connect):
        for _ in range(CLOSED_TOLD_MAX + 7):
            reader, writer = await connect()
            writer.write(b"because \x1b" + b"x" * 10_000 + b"\n")
            await reader.read()
            writer.close()
        await _until(lambda: not server._connections)
        for _ in range(2):
            server._sweeper.cancel()
            server._sweep()

    test(None)
    *told, more = (it.getMessage() for it in caplog.records)
    assert len(told) == CLOSED_TOLD_MAX
    assert all(len(it) < REASON_SHOWN + 100 and "\x1b" not in it for it in told)
    assert more == "7 more connections closed"


@BOTH
def test_a_session_that_cannot_begin_leaves_no_connection(caplog, tls, monkeypatch):
    @serving
    async def test(server, connect):
        with monkeypatch.context() as patch:
            patch.setattr(Lines, "__init__", lambda *_: 1 / 0)
            reader, writer = await connect()
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
        other_reader, other = await connect()
        other.write(b"here\n")
        assert await line(other_reader) == b"HERE\n"
        assert [it.connections for it in server._listening] == [1]
        other.close()

    test(tls)
    [record] = caplog.records
    assert "a bug ended a connection before its first word" in record.getMessage()


@serving
async def test_a_peer_that_resets_is_forgotten(server, connect):
    _, writer = await connect()
    writer.write(b"give 100000\n")
    await _until(lambda: Lines.living == 1 and Lines.last.taken)
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()
    await _until(lambda: Lines.living == 0)


@plainly
@limited(connections_max=2)
async def test_connections_over_the_limit_are_closed_at_once(server, connect):
    opened = [await connect() for _ in range(2)]
    for reader, writer in opened:
        writer.write(b"in\n")
        assert await line(reader) == b"IN\n"
    reader, writer = await connect()
    assert await reader.read() == b""
    writer.close()
    opened[0][1].close()
    await _until(lambda: Lines.living == 1)
    reader, writer = await connect()
    writer.write(b"in\n")
    assert await line(reader) == b"IN\n"
    for _, it in [*opened, (reader, writer)]:
        it.close()


class Counting:
    """A gate: so many connections at one time; whoever is one too many waits so long."""

    def __init__(self, most, wait_s):
        self.most, self.wait_s, self.there = most, wait_s, 0

    def arrived(self, host, now):
        assert host == "127.0.0.1"
        if self.there == self.most:
            return Turned("too many of 127.0.0.1", self.wait_s)
        self.there += 1
        return None

    def left(self, host):
        self.there -= 1


@serving
@limited(gate=Counting(1, 0.0))
async def test_an_address_with_too_many_connections_is_refused_until_one_is_gone(server, connect):
    gate = server._gate
    reader, writer = await connect()
    writer.write(b"in\n")
    assert await line(reader) == b"IN\n"
    with contextlib.suppress(OSError):  # in the middle of a handshake, with TLS
        other, closing = await connect()
        assert await other.read() == b""
        closing.close()
    writer.close()
    await _until(lambda: gate.there == 0)
    reader, writer = await connect()
    writer.write(b"in\n")
    assert await line(reader) == b"IN\n"
    writer.close()
    await _until(lambda: gate.there == 0)


@plainly
@limited(gate=Counting(0, 0.02))
async def test_who_comes_too_often_waits_unheard_and_is_closed(server, connect):
    began = server.loop.time()
    reader, writer = await connect()
    writer.write(b"in\n")
    with contextlib.suppress(ConnectionError):  # what it has sent was not read
        assert await reader.read() == b""
    assert server.loop.time() - began >= 0.019  # the loop counts whole milliseconds
    assert server._turned == {}
    assert Lines.living == 0
    writer.close()


@plainly
@limited(gate=Counting(0, 3600.0))
async def test_those_who_wait_are_so_many_and_end_with_the_server(server, connect):
    opened = [await connect() for _ in range(TURNED_MAX + 1)]
    await _until(lambda: len(server._turned) == TURNED_MAX)
    assert await opened[-1][0].read() == b""
    await server.stop(1.0)
    for reader, writer in opened[:-1]:
        assert await reader.read() == b""
        writer.close()
    opened[-1][1].close()


@plainly
@limited(gate=Counting(0, 3600.0))
async def test_those_who_wait_take_no_descriptor_that_others_need(server, connect):
    server._connections_max = 5
    opened = [await connect() for _ in range(8)]
    for reader, _ in opened[:3]:  # the first have waited longest
        assert await reader.read() == b""
    assert len(server._turned) == 5
    server._gate.most = 8
    opened.append(await connect())
    opened[-1][1].write(b"in\n")
    assert await line(opened[-1][0]) == b"IN\n"
    assert len(server._turned) + len(server._connections) == 5
    for _, writer in opened:
        writer.close()


@plainly
async def test_a_crowd_does_not_keep_out_who_comes_by_the_socket_of_the_directory(server, connect):
    server._connections_max = 2
    opened = [await connect() for _ in range(2)]
    await _until(lambda: len(server._connections) == 2)
    reader, refused = await connect()
    assert await reader.read() == b""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{folder}/s")
        listening.listen()
        server.listen_at(listening.dup(), Doorway(Lines, Limits(100, 600.0)))
        reader, writer = await asyncio.open_unix_connection(f"{folder}/s")
        writer.write(b"in\n")
        assert await line(reader) == b"IN\n"
        for it in (opened[0][1], opened[1][1], refused, writer):
            it.close()


@serving
@limited(idle_s=0.0)
async def test_a_silent_connection_is_closed_a_waiting_one_is_not(server, connect):
    silent, one = await connect()
    waiting, other = await connect()
    other.write(b"hold\n")
    await _until(lambda: Lines.last.held)
    session = Lines.last
    server._sweep()
    assert await silent.read() == b""
    session.release()
    assert await line(waiting) == b"RELEASED\n"
    one.close()
    other.close()


@serving
@limited(idle_s=0.0)
async def test_one_that_is_let_be_is_not_closed_for_silence_nor_for_not_reading(server, connect):
    """As one is that has become another protocol's: a slow subscriber over WebSocket."""
    silent, one = await connect()
    _, slow = await connect()
    await _until(lambda: len(server._connections) == 2)
    connections = list(server._connections)
    connections[0].let_be()
    connections[1].let_be()
    assert connections[1].push(bytes(8 * MIB)) > 0
    server._sweep()
    assert all(not it.gone for it in connections)
    one.write(b"in\n")
    assert await line(silent) == b"IN\n"
    one.close()
    slow.close()


@serving
async def test_stopping_answers_what_is_under_way(server, connect):
    reader, writer = await connect()
    writer.write(b"hold\n")
    await _until(lambda: Lines.living and Lines.last.held)
    await server.stop(DEADLINE_S)
    assert await reader.read() == b"FINISHED\n"
    with pytest.raises(ConnectionRefusedError):
        await connect()
    writer.close()


@serving
async def test_idle_connections_have_no_buffers(server, connect):
    opened = [await connect() for _ in range(20)]
    for reader, writer in opened:
        writer.write(b"x" * 1000)
        await writer.drain()
        writer.write(b"\n")
        assert len(await line(reader)) == 1001
    for connection in list(server._connections):
        connection.forget_room()
    assert all(it._own is None for it in server._connections)
    for _, writer in opened:
        writer.close()


async def _until(condition):
    while not condition():  # the deadline is the whole test's
        await asyncio.sleep(0.001)


FILE_BYTES = 8 * MIB


def with_file(test):
    async def run(server, connect):
        with tempfile.TemporaryFile() as file:
            file.write(bytes(range(256)) * (FILE_BYTES // 256))
            file.flush()
            Lines.file = file
            await test(server, connect)
            await _until(lambda: Piece.held == 0)

    run.__name__ = test.__name__
    return run


@serving
@with_file
async def test_parts_of_files_are_sent_in_their_place(server, connect):
    reader, writer = await connect()
    for size in (1, 70_000, FILE_BYTES):
        writer.write(b"a\nfile %d\nb\n" % size)
        assert await line(reader) == b"A\n"
        assert await reader.readexactly(1) == b"<"
        assert await reader.readexactly(size) == (bytes(range(256)) * (size // 256 + 1))[:size]
        assert await reader.readexactly(5) == b"|\0\1\2>"
        assert await line(reader) == b"B\n"
    writer.close()


@serving
@with_file
async def test_an_idle_connection_has_no_room_for_what_is_to_be_sent(server, connect):
    reader, writer = await connect()
    writer.write(b"a\nfile %d\nb\n" % FILE_BYTES)
    await reader.readexactly(len(b"A\n<") + FILE_BYTES + len(b"|\0\1\2>B\n"))
    [it] = server._connections
    await until(lambda: it._out is connection_module.NOTHING)
    assert it._shared is connection_module.NOTHING
    assert not hasattr(it, "__dict__")
    writer.close()


@serving
@with_file
async def test_a_reader_that_goes_leaves_no_file_open(server, connect):
    reader, writer = await connect()
    writer.write(b"file %d\nmore\n" % FILE_BYTES)
    assert await reader.readexactly(1) == b"<"
    assert Piece.held
    writer.transport.abort()
    other_reader, other = await connect()
    other.write(b"hello\n")
    assert await line(other_reader) == b"HELLO\n"
    other.close()


@serving
@with_file
async def test_a_peer_that_reads_as_fast_as_we_send_does_not_hold_us(server, connect):
    """Its socket would take the whole answer, of some hundred milliseconds, in one turn."""
    reader, writer = await connect()
    await until(lambda: server._connections)
    kind, calls = connection_module.Connection, [0]
    flush, send = kind.flush, kind._send_near_extent

    def counted_flush(it):
        calls.append(0)
        flush(it)

    def counted_send(it):
        calls[-1] += 1
        return send(it)

    clock = iter(range(1 << 20))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "flush", counted_flush)
        patch.setattr(kind, "_send_near_extent", counted_send)
        patch.setattr(connection_module, "monotonic", lambda: next(clock))
        writer.write(b"file %d\n" % FILE_BYTES)
        data = await reader.readexactly(FILE_BYTES + 6)
    assert data[1:-5] == bytes(range(256)) * (FILE_BYTES // 256)
    assert max(calls) == 1  # then its time was over, and it went on later
    writer.write(b"hello\n")
    assert await line(reader) == b"HELLO\n"
    writer.close()


@serving
@with_file
async def test_a_file_that_has_become_shorter_ends_the_connection(server, connect):
    reader, writer = await connect()
    Lines.file.truncate(1000)
    writer.write(b"file 5000\n")
    assert await reader.read() == b"<" + (bytes(range(256)) * 4)[:1000]
    writer.close()


async def until(condition):
    while not condition():
        await asyncio.sleep(0)


@plainly
async def test_a_reset_behind_what_was_sent_is_noticed(server, connect):
    """libuv tells of an error once; what came before it may be read only then."""
    _, writer = await connect()
    writer.write(b"hold\n")
    await until(lambda: Lines.living == 1 and Lines.last.held)
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.write(raw.fileno(), b"x" * 100)
    writer.transport.abort()
    await until(lambda: Lines.last.seen >= 100)
    for connection in server._connections:
        connection.heard_at -= 2 * SWEEP_S
    server._sweeper.cancel()
    server._sweep()
    assert Lines.living == 0


@serving
@limited(budget=16 * MIB)
async def test_the_peer_that_makes_the_server_hold_most_is_closed(server, connect):
    """A fast and a slow reader hold little: they are not touched."""
    _, large = await connect()
    reader, small = await connect()
    large.write(b"x" * 2000)
    await until(lambda: Lines.living == 2)
    large.write(b"x" * (14 * MIB))
    await until(lambda: server.budget.tight)
    assert server.budget.total_bytes < 16 * MIB
    small.write(b"hello\n")
    assert await reader.readline() == b"HELLO\n"
    server.budget.relieve(server.turn.now())
    server.budget.relieve(server.turn.now() + PATIENCE_S)
    assert Lines.living == 1
    assert server.budget.lost == 1
    assert server.budget.total_bytes < MIB
    small.write(b"again\n")
    assert await reader.readline() == b"AGAIN\n"
    large.transport.abort()
    small.close()


@serving
async def test_what_is_sent_and_read_is_not_held(server, connect):
    reader, writer = await connect()
    writer.write(b"give 20000\n")
    await until(lambda: server.budget.total_bytes > 0)
    for _ in range(20):
        await reader.readexactly(1_000_000)
    await until(lambda: server.budget.total_bytes == 0)
    writer.close()
