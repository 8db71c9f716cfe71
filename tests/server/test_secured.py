"""TLS between a socket and whoever reads and writes plain bytes: what goes in comes out."""

import contextlib
import random
import socket
import ssl
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore import secured
from logstore.secured import (
    ARRIVED_BYTES,
    RECORD_BYTES,
    SEAL_BYTES,
    SEALED_RECORD_BYTES,
    Secured,
)


class Watched:
    """An ``ssl.MemoryBIO`` that knows how much it had to hold at once: that is never given back."""

    def __init__(self):
        self.it = ssl.MemoryBIO()
        self.most = 0

    def __getattr__(self, name):
        return getattr(self.it, name)

    def write(self, data):
        written = self.it.write(data)
        self.most = max(self.most, self.it.pending)
        return written

    def read(self, *size):
        self.most = max(self.most, self.it.pending)
        return self.it.read(*size)


class Counted:
    """An ``ssl.SSLObject`` that counts the records that it has made."""

    def __init__(self, it):
        self.it, self.records = it, []

    def __getattr__(self, name):
        return getattr(self.it, name)

    def write(self, data):
        self.records.append(len(data))
        return self.it.write(data)


class End:
    """One of two who talk; ``secured`` is what is tested."""

    def __init__(self, context, sock, **role):
        self.sock = sock
        self.incoming, self.outgoing = Watched(), Watched()
        self.tls = Counted(context.wrap_bio(self.incoming.it, self.outgoing.it, **role))
        self.secured = None

    def shake(self, data):
        self.incoming.write(data)
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outgoing.read()

    def begin(self):
        parts = (self.tls, self.incoming, self.outgoing)
        self.secured = Secured(self.sock, *parts, bytearray(ARRIVED_BYTES), None)
        self.incoming.most = self.outgoing.most = 0

    def receive(self, size):
        """What there is; None: nothing yet."""
        room = bytearray(size)
        try:
            got = self.secured.recv_into(memoryview(room))
        except BlockingIOError:
            return None
        return bytes(room[:got])

    def send(self, buffers):
        """How many bytes were taken; None: the socket takes nothing now."""
        try:
            return self.secured.sendmsg(buffers)
        except BlockingIOError:
            return None


@contextlib.contextmanager
def two(tls, buffer_bytes=1 << 16):
    """A client and a server, whose handshake is done."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for sock in (ours, theirs):
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        server = End(tls.context, ours, server_side=True)
        client = End(tls.asks, theirs, server_hostname="localhost")
        told = client.shake(b"")
        for _ in range(2):
            told = client.shake(server.shake(told))
        server.shake(told)
        for end in (server, client):
            end.begin()
        yield server, client


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


def gather(source, target, buffers, room=1 << 18):
    """Have all of it sent and received; what came out."""
    out, left = bytearray(), [memoryview(it) for it in buffers]
    want = sum(map(len, left))
    idle = 0
    while left or len(out) < want:
        took = source.send(left) if left else None
        while left and took is not None and took >= len(left[0]):
            took -= len(left.pop(0))
        if left and took:
            left[0] = left[0][took:]
        got = target.receive(room)
        out += got or b""
        idle = 0 if took or got else idle + 1
        assert idle < 100, "nothing goes on"
    assert not left
    assert source.secured.drain()
    return bytes(out)


@given(
    sizes=st.lists(st.sampled_from([0, 1, 5, 100, 16_383, 16_384, 16_385, 40_000, 300_000]),
                   min_size=1, max_size=8),
    room=st.sampled_from([1, 100, 16_384, 16_385, 65_536, 262_144]),
    buffer_bytes=st.sampled_from([1 << 12, 1 << 14, 1 << 20]),
)  # fmt: skip
def test_what_goes_in_comes_out(ours, sizes, room, buffer_bytes):
    """In any buffers, into any room, through sockets that take little."""
    if room == 1:
        sizes = [min(size, 100) for size in sizes]
    buffers = [noise(size, seed) for seed, size in enumerate(sizes)]
    with two(ours, buffer_bytes) as ends:
        for source, target in (ends, ends[::-1]):
            assert gather(source, target, buffers, room) == b"".join(buffers)


def test_openssl_holds_one_record_at_once(ours):
    """What it has held once it holds for ever: 550 KiB a connection, were it more."""
    with two(ours, 1 << 20) as (server, client):
        data = noise(3 << 20)
        assert gather(server, client, [data]) == data
        assert gather(client, server, [data[:1000], data[1000:]]) == data
        for end in (server, client):
            assert end.incoming.most <= 2 * SEALED_RECORD_BYTES
            assert end.outgoing.most <= SEALED_RECORD_BYTES


def test_small_buffers_share_a_record_and_large_ones_are_cut_into_full_ones(ours):
    """A record costs a call of OpenSSL's, and 22 bytes: an answer of Kafka begins with eight."""
    with two(ours, 1 << 20) as (server, client):
        gather(server, client, [b"12345678", noise(100_000), b"x" * 5, b"y" * 7])
        records = server.tls.records
        assert records[:-1] == [RECORD_BYTES] * 6
        assert sum(records) == 100_020
        server.tls.records = []
        gather(server, client, [b"."] * 900)
        assert server.tls.records == [900]


def test_what_the_socket_has_not_taken_was_not_sent(ours):
    """It stays with who sends it, who gives it again: so it is counted until the peer has it."""
    with two(ours, 1 << 12) as (server, client):
        data = noise(SEAL_BYTES + 5)
        took = server.send([data])
        while took == 0:
            took = server.send([data])
        assert took is None  # the socket is full, and nothing was told to be taken
        assert server.secured.holding
        assert 0 < server.secured.held_bytes <= SEAL_BYTES + 22 * (SEAL_BYTES // RECORD_BYTES + 1)
        got = b""
        while server.send([data]) is None or server.secured.holding:
            got += client.receive(1 << 18) or b""
        while len(got) < SEAL_BYTES:
            got += client.receive(1 << 18) or b""
        assert got == data[:SEAL_BYTES]


def test_what_is_left_inside_is_told_of(ours):
    """The socket is empty, so its readiness says nothing of it."""
    with two(ours) as (server, client):
        client.send([b"x" * 5000])
        assert server.receive(10) == b"x" * 10
        assert server.secured.more
        assert server.receive(4990) == b"x" * 4990
        assert server.receive(10) is None
        assert not server.secured.more


def test_half_a_record_is_nothing_yet(ours):
    with two(ours) as (server, client):
        client.send([b"x" * 100])
        sealed = server.sock.recv(1000)
        for byte in sealed[:-1]:
            client.sock.send(bytes([byte]))
            assert server.receive(100) is None
        client.sock.send(sealed[-1:])
        assert server.receive(100) == b"x" * 100


def test_a_peer_that_sends_no_end_of_nothing_does_not_hold_us(ours):
    """Records without data: others have their turn between them."""
    with two(ours, 1 << 20) as (server, client):
        for _ in range(20):
            client.tls.write(b"")
        empty = client.outgoing.read()
        reads = []
        received = server.sock

        class Sock:
            def recv_into(self, room):
                reads.append(len(room))
                return received.recv_into(room)

        server.secured._sock = Sock()
        client.sock.send(empty or b"")
        assert server.receive(100) is None
        assert len(reads) <= 2


class Sent:
    """A socket that the peer has sent this through, in one piece."""

    def __init__(self, data):
        self.data, self.reads = data, 0

    def recv_into(self, room):
        if not self.data:
            raise BlockingIOError
        self.reads += 1
        piece, self.data = self.data[: len(room)], self.data[len(room) :]
        room[: len(piece)] = piece
        return len(piece)


@pytest.mark.parametrize("room", [100, 16_384, 262_144])
def test_a_peer_whose_records_take_long_does_not_hold_us(ours, room, monkeypatch):
    """An update of keys has 27 bytes, and takes 20 us: one read of the socket would take 0.2 s."""
    clock = iter(range(1 << 20))
    monkeypatch.setattr(secured, "monotonic", lambda: next(clock))  # each look comes too late
    with two(ours, 1 << 20) as (server, client):
        data = noise(200_000)
        at = 0
        while at < len(data):
            at += client.tls.write(data[at : at + 1000])
        opened, tls_read = [], server.secured._read
        server.secured._read = lambda size, into: opened.append(1) or tls_read(size, into)
        sent = server.secured._sock = Sent(client.outgoing.read())
        got = bytearray()
        while len(got) < len(data):
            opened.clear()
            piece = server.receive(room)
            assert len(opened) <= SEALED_RECORD_BYTES // 1000 + 4  # and looks that find nothing
            got += piece or b""
            asked_again = server.secured.more or sent.data  # a socket that can be read says so
            assert asked_again or len(got) == len(data)
            assert server.secured.held_bytes <= ARRIVED_BYTES
        assert got == data
        assert server.incoming.most <= 2 * SEALED_RECORD_BYTES
        assert server.receive(room) is None
        assert (server.secured.more, server.secured.held_bytes) == (False, 0)


def test_an_extent_goes_through_memory(ours):
    with tempfile.TemporaryFile() as file, two(ours, 1 << 20) as (server, client):
        data = noise(400_000)
        file.write(b"before" + data)
        file.flush()

        class Piece:
            position, left = 6, len(data)

            def __len__(self):
                return self.left

            def fileno(self):
                return file.fileno()

        piece, got = Piece(), b""
        while piece.left:
            with contextlib.suppress(BlockingIOError):
                sent = server.secured.send_from(piece)
                assert sent <= SEAL_BYTES
                piece.position, piece.left = piece.position + sent, piece.left - sent
            got += client.receive(1 << 18) or b""
        while len(got) < len(data):
            got += client.receive(1 << 18) or b""
        assert got == data
        piece.position, piece.left = 500_000, 1
        with pytest.raises(OSError, match="a segment is shorter than it was"):
            server.secured.send_from(piece)


@given(at=st.integers(0, 99), flip=st.integers(1, 255))
def test_a_byte_that_was_changed_on_the_way_is_never_read(ours, at, flip):
    with two(ours) as (server, client):
        client.send([b"x" * 77])
        sealed = bytearray(server.sock.recv(1000))
        sealed[at % len(sealed)] ^= flip
        client.sock.send(sealed)
        said = "TLS: "
        try:
            assert server.receive(100) is None  # it is said to be longer than it is
        except OSError as error:
            said = error.strerror
        assert said.startswith("TLS: ")


@given(garbage=st.binary(min_size=1, max_size=300))
def test_garbage_is_an_error_or_nothing_yet(ours, garbage):
    with two(ours) as (server, client):
        client.sock.send(garbage)
        with contextlib.suppress(OSError):
            assert server.receive(100) in (None, b"")


def test_the_end_of_one_direction_is_told_once_all_is_read(ours):
    with two(ours) as (server, client):
        client.send([b"last"])
        client.secured.close()
        assert server.receive(100) == b"last"
        assert server.secured.more
        assert server.receive(100) == b""
        assert server.receive(100) == b""
        assert server.send([b"answer"]) == 6
        assert client.sock.recv(100)[:1] == b"\x17"


def test_a_peer_that_is_cut_off_has_said_all(ours):
    with two(ours) as (server, client):
        client.send([b"last"])
        client.sock.close()
        assert server.receive(100) == b"last"
        assert server.receive(100) == b""
        server.secured.close()  # nobody hears it
        with pytest.raises(OSError, match="Broken pipe"):
            server.secured.send(b"x")


def test_nothing_is_said_in_the_middle_of_a_record(ours):
    """An end that is told there would be part of the record: the peer would call it broken."""
    with two(ours, 1 << 12) as (server, _):
        while server.send([noise(50_000)]) == 0:
            pass
        held = server.secured.held_bytes
        server.secured.close()
        assert server.secured.held_bytes == held
