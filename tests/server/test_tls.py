"""How TLS begins and ends: who is let in, who is not, and what that may cost."""

import asyncio
import contextlib
import dataclasses
import os
import random
import shutil
import socket
import ssl
import struct
from pathlib import Path

import pytest
from line_server import Lines, limited, line, secured
from signed import Authority
from tls_kit import InUse

from logstore import handshakes
from logstore import secured as secured_module
from logstore import server as server_module
from logstore.certificates import load

# As a client of 2008 would begin: TLS 1.1 at the most.
_HELLO = b"\x03\x02" + bytes(32) + b"\0" + b"\0\x04\xc0\x09\0\x2f" + b"\x01\0"
OLD_HELLO = b"\x16\x03\x01" + struct.pack(">H", len(_HELLO) + 4) + b"\x01\0" + struct.pack(
    ">H", len(_HELLO)
) + _HELLO  # fmt: skip
PROTOCOL_VERSION = b"\x02\x46"  # a fatal alert


async def until(true):
    while not true():
        await asyncio.sleep(0.001)


async def raw(connect, data=b""):
    reader, writer = await connect(ssl=None)
    writer.write(data)
    return reader, writer


def refusals(caplog):
    return [it.getMessage().partition(": ")[2] for it in caplog.records]


def by_a_blocking_client(talk):
    """``talk(connect_by)`` in a thread: it tells the peer of what asyncio's clients do not."""

    async def test(server, connect):
        address = server._listening[0].sock.getsockname()

        def connect_by(asks=connect.tls.asks, session=None):
            sock = socket.create_connection(address, timeout=20)
            try:
                return asks.wrap_socket(
                    sock, server_hostname="localhost", suppress_ragged_eofs=False, session=session
                )
            finally:
                sock.close()

        await asyncio.to_thread(talk, connect_by)
        await until(lambda: not server._handshakes._under_way and not server._connections)

    test.__name__ = talk.__name__
    return secured(test)


# Who is let in


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_that_are_safe_are_spoken(version, tls_of):
    @secured
    async def test(server, connect):
        asks = connect.tls.authority.asks()
        asks.minimum_version = asks.maximum_version = version
        reader, writer = await connect(asks)
        spoken = writer.get_extra_info("ssl_object")
        assert spoken.version() == version.name.replace("_", ".")
        assert ("GCM" in spoken.cipher()[0]) or ("CHACHA20" in spoken.cipher()[0])
        writer.write(b"hello\n")
        assert await line(reader) == b"HELLO\n"
        assert (Lines.last.link.secure, Lines.last.link.certificate) == (True, None)
        writer.close()

    test(tls_of())


@pytest.fixture
def tls_of(authority):
    return lambda **how: InUse(authority, **how)


REFUSED = {
    "plain text": (b"GET / HTTP/1.1\r\n\r\n", "plain text on a port for TLS"),
    "a request of Kafka": (struct.pack(">ihhi", 100, 18, 3, 1), "plain text on a port for TLS"),
    "a request of Redis": (b"*1\r\n$4\r\nPING\r\n", "plain text on a port for TLS"),
    "one byte": (b"x", "plain text on a port for TLS"),
    "a version of long ago": (OLD_HELLO, "TLS: the peer speaks no TLS newer than 1.1"),
    "a record of nonsense": (b"\x16\x03\x01\0\x05aaaaa", "TLS: "),
    "a large claim": (b"\x16\x03\x01\0\x04\x01\x01\xff\0",
                      "TLS: a handshake that begins with 130816 bytes"),
    "a header in pieces": (b"\x16\x03\x01\0\x01\x01\x16\x03\x01\0\x03\x01\xff\0",
                           "TLS: a handshake that begins with 1 bytes"),
    "a handshake without end": (
        b"".join(b"\x16\x03\x01\x40\0" + (b"\x01\xff\xff\xff" if not n else b"") +
                 bytes((1 << 14) - (0 if n else 4)) for n in range(5)), "TLS: ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_tls_is_refused_in_one_line(case, tls_of, caplog):
    data, why = REFUSED[case]

    @secured
    async def test(server, connect):
        reader, writer = await raw(connect, data)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        await until(lambda: len(server._handshakes) == 0)
        assert Lines.living == 0
        reader, writer = await connect()  # and others are served
        writer.write(b"hello\n")
        assert await line(reader) == b"HELLO\n"
        writer.close()

    test(tls_of())
    [told] = refusals(caplog)
    assert told.startswith(f"refused: {why}")


@secured
async def test_a_client_of_long_ago_is_told_so_by_an_alert(server, connect):
    reader, writer = await raw(connect, OLD_HELLO)
    answer = await reader.read()
    assert answer[:1] == b"\x15"
    assert answer[-2:] == PROTOCOL_VERSION
    writer.close()


def test_a_client_that_does_not_trust_us_is_told_of_in_words(tls_of, tmp_path, caplog):
    other = Authority(tmp_path, "another authority")

    @by_a_blocking_client
    def test(connect_by):
        with pytest.raises(ssl.SSLCertVerificationError):
            connect_by(other.asks())

    test(tls_of())
    [told] = refusals(caplog)
    assert told.startswith("refused: TLS: the peer does not trust the certificate of tls.cert")


def test_many_who_are_refused_are_told_of_together(tls_of, caplog):
    @secured
    async def test(server, connect):
        for _ in range(5):
            reader, writer = await raw(connect, b"hello\n")
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
        server._sweeper.cancel()
        server._sweep()

    test(tls_of())
    first, rest = (it.getMessage() for it in caplog.records)
    assert "plain text on a port for TLS" in first
    assert rest.startswith("5 connections refused: plain text")


@secured
async def test_a_handshake_in_pieces_is_one(server, connect):
    """And the session comes with its end, not before."""
    reader, writer = await raw(connect)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = connect.tls.asks.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    for byte in outgoing.read():
        assert Lines.living == 0
        writer.write(bytes([byte]))
        await asyncio.sleep(0)
    while True:
        incoming.write(await reader.read(1000))
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
            break
    client.write(b"at once\n")  # with the last message of the handshake
    writer.write(outgoing.read())
    answer = b""
    while not answer:
        incoming.write(await reader.read(1000))
        with contextlib.suppress(ssl.SSLWantReadError):
            answer = client.read(100)
    assert answer == b"AT ONCE\n"
    writer.close()


def test_a_first_message_that_was_changed_at_random_ends_in_one_line_or_waits(tls_of, caplog):
    """Nobody has said who he is yet: whatever is sent, it is no bug, and others are served."""

    @secured
    async def test(server, connect):
        outgoing = ssl.MemoryBIO()
        client = connect.tls.asks.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        hello, chance = outgoing.read(), random.Random(12)
        for _ in range(80):
            changed = bytearray(hello)
            for _ in range(chance.randint(1, 4)):
                changed[chance.randrange(len(hello))] = chance.randrange(256)
            reader, writer = await raw(connect, changed[: chance.choice([len(hello), 60, 5])])
            await until(lambda: not server._handshakes._ready)
            writer.transport.abort()
        await until(lambda: len(server._handshakes) == 0)
        assert Lines.living == 0
        reader, writer = await connect()
        writer.write(b"hello\n")
        assert await line(reader) == b"HELLO\n"
        writer.close()

    test(tls_of())
    assert not [it for it in caplog.records if it.exc_info]


# What it may cost


def test_who_says_nothing_has_no_session_and_goes_after_a_while(tls_of, caplog):
    @secured
    async def test(server, connect):
        reader, writer = await raw(connect)
        await until(lambda: len(server._handshakes) == 1)
        [it] = server._handshakes._under_way
        assert (Lines.living, it.ssl_object) == (0, None)
        server._handshakes._look()
        assert len(server._handshakes) == 1
        it.until = server.turn.now()
        server._handshakes._look()
        assert await reader.read() == b""
        writer.close()

    test(tls_of())
    assert refusals(caplog) == ["refused: no TLS handshake within 10 s"]


def test_who_holds_his_place_while_others_wait_soon_loses_it(tls_of, monkeypatch, caplog):
    monkeypatch.setattr(handshakes, "HANDSHAKES_MAX", 3)
    monkeypatch.setattr(handshakes, "PATIENCE_S", 0.0)

    @secured
    async def test(server, connect):
        silent = []
        for number in range(3):
            silent.append(await raw(connect))
            await until(lambda number=number: len(server._handshakes) == number + 1)
        reader, writer = await connect()
        writer.write(b"hello\n")
        assert await line(reader) == b"HELLO\n"
        assert await silent[0][0].read() == b""
        assert len(server._handshakes) == 2
        for _, it in [*silent, (reader, writer)]:
            it.close()

    test(tls_of())
    assert refusals(caplog) == ["refused: more than 3 TLS handshakes at once"]


def test_a_crowd_that_comes_at_once_is_served_in_turn(tls_of, monkeypatch, caplog):
    """After a restart all clients come back: nobody is refused, and each is accepted when there
    is room.
    """
    monkeypatch.setattr(handshakes, "HANDSHAKES_MAX", 8)
    monkeypatch.setattr(server_module, "ACCEPT_PAUSE_S", 0.001)
    most = []

    @secured
    async def test(server, connect):
        begin = server._handshakes.begin

        def begun(*given):
            begin(*given)
            most.append(len(server._handshakes))

        server._handshakes.begin = begun

        async def one(number):
            reader, writer = await connect()
            writer.write(b"n%d\n" % number)
            assert await line(reader) == b"N%d\n" % number
            return writer

        for writer in await asyncio.gather(*map(one, range(90))):
            writer.close()

    test(tls_of())
    assert max(most) == 8
    assert not caplog.records


@secured
async def test_few_handshakes_are_carried_on_in_one_turn(server, connect):
    """Each takes half a millisecond, and those who have come in wait."""
    turns, some = [], server._handshakes._some

    def counted():
        before = len(server._handshakes._ready)
        some()
        turns.append(before - len(server._handshakes._ready))

    server._handshakes._some = counted
    opened = await asyncio.gather(*(connect() for _ in range(60)))
    await until(lambda: len(server._handshakes) == 0)
    assert sum(turns) >= 120  # what a client says first, and what it says last
    assert max(turns) <= handshakes.HANDSHAKES_A_TURN
    for _, writer in opened:
        writer.close()


def test_those_whose_handshake_is_not_done_count_as_connections(tls_of, caplog):
    @secured
    @limited(connections_max=2)
    async def test(server, connect):
        silent = [await raw(connect) for _ in range(2)]
        await until(lambda: len(server._handshakes) == 2)
        reader, writer = await raw(connect)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""  # nothing is said that would be no TLS
        silent[0][1].close()
        await until(lambda: len(server._handshakes) == 1)
        _, other = await connect()
        for _, it in [*silent, (reader, writer), (reader, other)]:
            it.close()

    test(tls_of())
    assert refusals(caplog) == ["refused: max.connections is 2"]


@secured
async def test_a_server_that_stops_lets_go_of_handshakes(server, connect):
    reader, writer = await raw(connect)
    await until(lambda: len(server._handshakes) == 1)
    await server.stop(1.0)
    assert await reader.read() == b""
    writer.close()


# Certificates of clients


def shown(tls):
    """Certificates by the side of who is let in, and of who is not."""
    it = tls.authority
    return {
        "al": it.client("al", ORGANIZATION_NAME="Acme"),
        "al's key changed": it.client("al", file="al2"),
    }


@secured
async def test_without_an_authority_no_client_is_asked(server, connect):
    asks = connect.tls.authority.asks(connect.tls.authority.client("al"))
    reader, writer = await connect(asks)
    writer.write(b"hello\n")
    assert await line(reader) == b"HELLO\n"
    assert Lines.last.link.certificate is None
    writer.close()


@pytest.mark.parametrize("required", [False, True])
def test_who_shows_a_certificate_is_the_user_it_stands_for(tls_of, required):
    @secured
    async def test(server, connect):
        signs = connect.tls.authority
        asks = signs.asks(signs.client("Al", ORGANIZATION_NAME="Acme"))
        for _ in range(2):  # the second time with a ticket
            reader, writer = await connect(asks)
            writer.write(b"hello\n")
            assert await line(reader) == b"HELLO\n"
            it = Lines.last.link.certificate
            assert (it.subject, it.common_names, it.user) == ("CN=Al,O=Acme", ("Al",), "al")
            writer.close()

    test(tls_of(clients=True, required=required, rules="RULE:CN=([^,]*).*/$1/L"))


def test_who_need_not_show_one_and_does_not_is_let_in(tls_of):
    @secured
    async def test(server, connect):
        reader, writer = await connect()
        writer.write(b"hello\n")
        assert await line(reader) == b"HELLO\n"
        assert Lines.last.link.certificate is None
        writer.close()

    test(tls_of(clients=True))


async def is_refused(connect, asks):
    """TLS 1.3 tells a client only after its own handshake is done."""
    got = b""
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        reader, writer = await connect(asks)
        writer.write(b"hello\n")
        got = await reader.read()
        writer.close()
    assert got == b""


def of_nobody(authority, folder):
    return authority.asks()


def of_another_authority(authority, folder):
    return authority.asks(Authority(folder).client("al"))


def of_the_same_issuer_and_number(authority, folder):
    """As if it were that one: but it was not signed with its key (CVE-2026-67231)."""
    authority.client("al", serial=4711)
    return authority.asks(Authority(folder).client("al", serial=4711))


def of_a_server(authority, folder):
    return authority.asks(authority.server("no-client"))


OTHERS = {
    of_nobody: "the peer has shown no certificate, and tls.client.auth is required",
    of_another_authority: "the peer's certificate: ",
    of_the_same_issuer_and_number: "the peer's certificate: ",
    of_a_server: "the peer's certificate: unsuitable certificate purpose",
}


@pytest.mark.parametrize("shows", OTHERS, ids=[it.__name__ for it in OTHERS])
def test_a_certificate_that_nobody_vouches_for_lets_nobody_in(tls_of, shows, tmp_path, caplog):
    @secured
    async def test(server, connect):
        await is_refused(connect, shows(connect.tls.authority, tmp_path))
        await until(lambda: len(server._handshakes) == 0)
        assert Lines.living == 0

    test(tls_of(clients=True, required=True))
    [told] = refusals(caplog)
    assert told.startswith(f"refused: TLS: {OTHERS[shows]}")


@pytest.mark.parametrize("shows", list(OTHERS)[1:], ids=[it.__name__ for it in list(OTHERS)[1:]])
def test_one_that_need_not_be_shown_must_be_good_all_the_same(tls_of, shows, tmp_path):
    @secured
    async def test(server, connect):
        await is_refused(connect, shows(connect.tls.authority, tmp_path))

    test(tls_of(clients=True))


def test_a_certificate_whose_names_are_no_text_ends_in_one_line(tls_of, caplog):
    """Those who sign are not so strict as those who read."""

    @secured
    async def test(server, connect):
        signs = connect.tls.authority
        await is_refused(connect, signs.asks(signs.client("al", file="latin", no_text=True)))
        await until(lambda: not any(it.connections for it in server._listening))
        assert Lines.living == 0

    test(tls_of(clients=True))
    assert refusals(caplog) == ["refused: TLS: the peer's certificate: a name in it is not text"]


# Another certificate


@secured
async def test_connections_keep_the_certificate_by_which_they_came(server, connect):
    tls = connect.tls
    reader, writer = await connect()
    old, other = tls.loaded, InUse(tls.authority, file="another")
    number = writer.get_extra_info("peercert")["serialNumber"]
    tls.use(other.loaded)
    try:
        reader_2, writer_2 = await connect()
        assert writer_2.get_extra_info("peercert")["serialNumber"] != number
        for it, sent in ((writer, reader), (writer_2, reader_2)):
            it.write(b"hello\n")
            assert await line(sent) == b"HELLO\n"
            it.close()
    finally:
        tls.use(old)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_ticket_is_good_for_no_other_authority(tls_of, tmp_path, version):
    """A client that comes again shows no certificate, but what it was given for it."""
    tls = tls_of(clients=True, required=True)
    asks = tls.authority.asks(tls.authority.client("al"))
    asks.minimum_version = asks.maximum_version = version

    @by_a_blocking_client
    def test(connect_by):
        def say_hello(session=None):
            with connect_by(asks, session) as sock:
                sock.sendall(b"hello\n")
                if sock.recv(100) != b"HELLO\n":
                    raise ConnectionResetError
                return sock.session, sock.session_reused

        session, _ = say_hello()
        assert say_hello(session)[1]
        assert Lines.last.link.certificate.subject == "CN=al"
        other = Path(Authority(tmp_path, "another").path)
        tls.use(load(dataclasses.replace(tls.files, client_ca=other)))
        with pytest.raises((ssl.SSLError, ConnectionError)):
            say_hello(session)

    test(tls)


# How it goes on


@secured
async def test_what_was_put_off_is_taken_without_another_word_of_the_peer(server, connect):
    """Its records take long, and others have their turn between them."""
    reader, writer = await connect()
    await until(lambda: Lines.living == 1)
    clock = iter(range(1 << 20))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secured_module, "monotonic", lambda: next(clock))
        for number in range(3000):
            writer.write(b"%020d\n" % number)
        for number in range(3000):
            assert await line(reader) == b"%020d\n" % number
    writer.close()


# How it ends


@secured
async def test_a_peer_that_has_said_all_is_told_the_rest(server, connect):
    """By TLS's own end of one direction, which is not that of the other."""
    reader, writer = await raw(connect)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = connect.tls.asks.wrap_bio(incoming, outgoing, server_hostname="localhost")

    async def do(work):
        while True:
            try:
                result = work()
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                data = await reader.read(1000)
                if not data:
                    incoming.write_eof()
                incoming.write(data)
            else:
                writer.write(outgoing.read())
                return result

    await do(client.do_handshake)
    await do(lambda: client.write(b"one\nhold\n"))
    assert await do(lambda: client.read(100)) == b"ONE\n"
    with contextlib.suppress(ssl.SSLWantReadError):
        client.unwrap()  # says so; whether we have said all is another matter
    assert await do(lambda: client.read(100)) == b"FINISHED\n"
    with pytest.raises(ssl.SSLZeroReturnError):  # and now the server has said all, too
        await do(lambda: client.read(100))
    writer.close()


@by_a_blocking_client
def test_a_session_that_ends_says_so_before_the_socket_is_closed(connect_by):
    """Else a client could not tell it from an attacker who has cut it off."""
    sock = connect_by()
    sock.sendall(b"one\nend\n")
    assert sock.recv(100) == b"ONE\nEND\n"
    assert sock.recv(100) == b""  # no SSLEOFError
    sock.close()


@secured
async def test_a_peer_that_is_cut_off_is_gone_without_a_word(server, connect):
    reader, writer = await connect()
    writer.write(b"hello\n")
    assert await line(reader) == b"HELLO\n"
    writer.transport.abort()
    await until(lambda: Lines.living == 0)


def test_resets_at_any_time_leave_no_descriptor_that_is_of_no_use(tls_of, caplog):
    """libuv closes its poll of a socket with an error; whose number the next connection gets."""

    def reset(sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    @secured
    async def test(server, connect):
        address = server._listening[0].sock.getsockname()
        for number in range(40):
            sock = socket.create_connection(address)
            sock.sendall(OLD_HELLO[: number % len(OLD_HELLO)])
            if number % 2:
                await asyncio.sleep(0)
            reset(sock)
            _, writer = await connect()
            os.write(writer.get_extra_info("socket").fileno(), b"\x17\x03\x03"[: number % 4])
            reset(writer.get_extra_info("socket").dup())
            writer.transport.abort()
        opened = await asyncio.gather(*(connect() for _ in range(40)))
        for reader, writer in opened:
            writer.write(b"hello\n")
            assert await line(reader) == b"HELLO\n"
            writer.close()

    test(tls_of())
    assert not [it for it in caplog.records if it.exc_info]


def test_what_is_no_record_ends_the_connection_in_one_line(tls_of, caplog):
    @secured
    async def test(server, connect):
        _, writer = await connect()
        await until(lambda: Lines.living == 1)
        os.write(writer.get_extra_info("socket").fileno(), b"\x17\x03\x03\0\x20" + bytes(32))
        await until(lambda: Lines.living == 0)
        writer.transport.abort()

    test(tls_of())
    [told] = refusals(caplog)
    # As OpenSSL words it: 3.0, and 3.6.
    why = {"decryption failed or bad record mac", "record layer failure"}
    assert told.removeprefix("connection closed: TLS: ") in why


# Other implementations


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
def test_a_peer_may_change_its_keys_and_ours(tls_of):
    """``K`` has OpenSSL's client send an update of its keys that asks for one of ours."""

    @secured
    async def test(server, connect):
        host, port = server._listening[0].sock.getsockname()
        process = await asyncio.create_subprocess_exec(
            "openssl", "s_client", "-connect", f"{host}:{port}", "-tls1_3",
            "-CAfile", connect.tls.authority.path, "-verify_return_error",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        for word in (b"one", b"two", b"three"):
            process.stdin.write(word + b"\n")
            while (told := await line(process.stdout)) != word.upper() + b"\n":
                assert told, "it has ended"
            process.stdin.write(b"K\n")
            while await line(process.stderr) != b"KEYUPDATE\n":
                assert process.returncode is None
        process.stdin.close()
        await process.communicate()

    test(tls_of())


class Counted:
    """A gate that lets in everyone, and counts."""

    def __init__(self):
        self.came = self.there = 0

    def arrived(self, host, now):
        self.came += 1
        self.there += 1

    def left(self, host):
        self.there -= 1


@secured
@limited(gate=Counted())
async def test_who_fails_at_the_handshake_is_counted_until_then(server, connect):
    gate = server._gate
    before = gate.came
    opened = [await raw(connect, data) for data in (b"GET / HTTP/1.1\r\n", OLD_HELLO, b"")]
    opened[2][1].close()
    await until(lambda: gate.came == before + 3 and gate.there == 0)
    reader, writer = await connect()
    writer.write(b"in\n")
    assert await line(reader) == b"IN\n"
    assert gate.there == 1
    writer.close()
    await until(lambda: gate.there == 0)
    for _, it in opened:
        it.close()
