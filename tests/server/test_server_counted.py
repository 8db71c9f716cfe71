"""What the server counts of doors and connections."""

import asyncio

from line_server import line, plainly, serving


async def until(condition):
    while not condition():  # the deadline is the whole test's
        await asyncio.sleep(0)


@serving
async def test_bytes_are_counted_of_each_connection_and_of_the_door_once_it_is_gone(
    server, connect
):
    reader, writer = await connect()
    writer.write(b"hello\n")
    assert await line(reader) == b"HELLO\n"
    [connection] = server.connections()
    counts = connection.doorway.counts
    assert (connection.bytes_in, connection.bytes_out) == (6, 6)
    assert (counts.opened, counts.closed, counts.bytes_in) == (1, 0, 0)
    writer.close()
    await until(lambda: not server.connections())
    assert (counts.opened, counts.closed) == (1, 1)
    assert (counts.bytes_in, counts.bytes_out) == (6, 6)


@plainly
async def test_what_is_pushed_is_counted_also_as_far_as_it_was_not_taken(server, connect):
    reader, writer = await connect()
    writer.write(b"hello\n")
    await line(reader)
    [connection] = server.connections()
    connection.push(b"x" * 10)
    assert await reader.readexactly(10) == b"x" * 10
    assert connection.bytes_out == 16
    much = b"y" * (1 << 20)
    for _ in range(20):
        connection.push(much)
    sent = connection.bytes_out
    assert connection.unsent == 16 + 20 * len(much) - sent
    await reader.readexactly(20 * len(much))
    await until(lambda: not connection.unsent)
    assert connection.bytes_out == 16 + 20 * len(much)
    writer.close()


@plainly
async def test_who_is_cut_off_and_has_left_much_unread_is_slow(server, connect):
    _, writer = await connect()
    writer.write(b"give 100000\n")
    await until(lambda: server.connections() and server.connections()[0].unsent)
    [connection] = server.connections()
    counts = connection.doorway.counts
    connection.close("it does not read")
    assert (counts.slow, counts.closed) == (1, 1)
    writer.close()


@plainly
async def test_who_goes_by_himself_or_has_read_all_is_not_slow(server, connect):
    reader, writer = await connect()
    writer.write(b"broken\n")
    assert await reader.read() == b""
    _, other = await connect()
    other.write(b"give 100000\n")
    await until(lambda: server.connections() and server.connections()[0].unsent)
    counts = server.connections()[0].doorway.counts
    other.transport.abort()
    await until(lambda: not server.connections())
    assert (counts.slow, counts.closed) == (0, 2)
    writer.close()


@plainly
async def test_connections_have_numbers_and_one_is_ended_by_its_own(server, connect):
    reader, first_writer = await connect()
    other, writer = await connect()
    await until(lambda: len(server.connections()) == 2)
    first, second = server.connections()
    assert server.connection(second.id) is second
    assert server.close(first.id, "asked to")
    assert await reader.read() == b""
    assert not server.close(first.id, "again")
    writer.write(b"still\n")
    assert await line(other) == b"STILL\n"
    for it in (first_writer, writer):
        it.close()


@plainly
async def test_those_that_are_refused_are_counted(server, connect):
    _, first = await connect()
    await until(server.connections)
    [doorway] = server.doorways()
    doorway.limits.connections_max = 1
    reader, second = await connect()
    assert await reader.read() == b""
    assert (doorway.counts.refused, doorway.counts.opened) == (1, 1)
    for it in (first, second):
        it.close()
