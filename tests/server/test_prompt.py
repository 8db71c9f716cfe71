"""Sessions that answer at once what came in one read."""

import asyncio

from line_server import Lines, limited, line, plainly, secured

from logstore.connection import PROMPT_BYTES_MAX

MUCH = 8 << 20  # bytes that no socket takes at once

prompts = limited(prompt=Lines.prompt)


async def until(condition):
    while not condition():  # the deadline is the whole test's
        await asyncio.sleep(0)


@plainly
@prompts
async def test_what_is_answered_at_once_is_counted_and_not_received(server, connect):
    reader, writer = await connect()
    writer.write(b"prompt ab 3\n")
    assert await reader.readexactly(6) == b"ababab"
    [connection] = server.connections()
    assert (connection.bytes_in, connection.bytes_out, connection.unsent) == (12, 6, 0)
    assert Lines.last.taken == 0
    writer.write(b"other\n")
    assert await line(reader) == b"OTHER\n"
    assert Lines.last.asked == [b"prompt ab 3\n", b"other\n"]
    writer.close()


@plainly
@prompts
async def test_what_a_peer_does_not_read_at_once_is_sent_later_and_it_is_not_asked(server, connect):
    reader, writer = await connect()
    writer.write(b"prompt x %d\n" % MUCH)
    await until(lambda: server.connections() and server.connections()[0].unsent)
    [connection] = server.connections()
    assert server.budget.total_bytes >= connection.unsent > 0
    writer.write(b"prompt y 1\n")
    assert await reader.readexactly(MUCH + 1) == b"x" * MUCH + b"y"
    assert connection.bytes_out == MUCH + 1
    assert connection.unsent == 0
    writer.close()


@plainly
@prompts
async def test_a_reply_that_comes_later_is_told_when_the_session_is_woken(server, connect):
    reader, writer = await connect()
    writer.write(b"prompt hold\n")
    await until(lambda: server.connections() and Lines.last.held)
    writer.write(b"behind\n")
    [connection] = server.connections()
    await until(lambda: connection.bytes_in == 19)
    Lines.last.release()
    assert await line(reader) == b"RELEASED\n"
    assert await line(reader) == b"BEHIND\n"
    writer.close()


@plainly
@prompts
async def test_who_waits_alone_is_asked_again_when_he_is_woken(server, connect):
    reader, writer = await connect()
    for _ in range(2):
        writer.write(b"prompt hold\n")
        await until(lambda: server.connections() and Lines.last.held)
        Lines.last.wake_me()
        Lines.last.release()
        assert await line(reader) == b"AT ONCE\n"
    writer.write(b"prompt hold\n")
    await until(lambda: Lines.last.held)
    writer.write_eof()
    assert await reader.read() == b"FINISHED\n"
    writer.close()


@plainly
@prompts
async def test_half_a_message_is_received_and_so_is_all_behind_it(server, connect):
    reader, writer = await connect()
    writer.write(b"hal")
    await until(lambda: server.connections() and server.connections()[0].bytes_in == 3)
    writer.write(b"f\nprompt x 1\n")
    assert await line(reader) == b"HALF\n"
    assert await line(reader) == b"PROMPT X 1\n"
    assert Lines.last.asked == [b"hal"]
    writer.close()


@plainly
@prompts
async def test_what_is_long_is_received(server, connect):
    reader, writer = await connect()
    await until(server.connections)
    long = b"x" * PROMPT_BYTES_MAX + b"\n"
    writer.write(long)
    assert await line(reader) == long.upper()
    assert all(len(it) <= PROMPT_BYTES_MAX for it in Lines.last.asked)
    writer.close()


@plainly
@prompts
async def test_a_bug_in_an_answer_ends_its_connection_alone(server, connect):
    for fault in (b"prompt bug\n", b"prompt broken\n"):
        reader, writer = await connect()
        other, other_writer = await connect()
        writer.write(fault)
        assert await reader.read() == b""
        other_writer.write(b"prompt z 1\n")
        assert await other.readexactly(1) == b"z"
        writer.close()
        other_writer.close()


@secured
@prompts
async def test_with_tls_all_is_received(server, connect):
    reader, writer = await connect()
    writer.write(b"prompt x 1\n")
    assert await line(reader) == b"PROMPT X 1\n"
    assert Lines.last.asked == []
    writer.close()
