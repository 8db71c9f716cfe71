"""What peers make a server hold is bounded, all together: ``memory.clients.max.bytes``.

Each attack holds several times the budget, if it may. Meanwhile, and afterwards, an honest client
of each door is served, and the memory falls back.
"""

import contextlib
import re
import socket
import struct
import threading

import pytest
import redis
from waiting import until
from wire_client import WireClient, produce_body

from logstore.kafka.messages import join_group
from logstore.records.encode import encode
from logstore.storage.segment import EXTENT_BYTES_MIN

pytestmark = pytest.mark.long

MIB = 1 << 20
GROUP_MAX_SIZE_REACHED = 81
BUDGET = 64 * MIB
# The process itself, one message that is being copied, and what the heap can't give back at once.
SLACK = 60 * MIB
DEADLINE_S = 30
EACH = 3  # of the budget: what an attack tries to have held


def memory(server, what):
    with open(f"/proc/{server.process.pid}/status") as status:
        return 1024 * int(re.search(rf"{what}:\s+(\d+)", status.read())[1])


class Attack:
    """Peers that send what they have to send until they are cut off, or not read from."""

    def __init__(self):
        self.sockets = []
        self._threads = []
        self.cut_off = []

    def begin(self, endpoint, pieces, *, receives=None):
        peer = socket.socket()
        if receives is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        peer.settimeout(DEADLINE_S)
        peer.connect(endpoint)
        self.sockets.append(peer)
        thread = threading.Thread(target=self._send, args=(peer, pieces), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _send(self, peer, pieces):
        try:
            for piece in pieces:
                peer.sendall(piece)
        except OSError:
            self.cut_off.append(peer)

    def over(self):
        for peer in self.sockets:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(DEADLINE_S)
        for peer in self.sockets:
            peer.close()


@pytest.fixture
def small(start):
    server = start(memory_clients_max_bytes=BUDGET)
    with Honest(server) as honest:
        honest.serve()
    server.idle_bytes = memory(server, "VmRSS")
    return server


@pytest.fixture
def attack():
    running = Attack()
    yield running
    running.over()


class Honest:
    """A client of each door that holds little."""

    def __init__(self, server):
        self._kafka = WireClient(server.endpoint)
        self._redis = redis.Redis(*server.redis, socket_timeout=DEADLINE_S)
        self._served = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._kafka.socket.close()
        self._redis.close()

    def serve(self):
        error, _ = self._kafka.produce("honest", [b"value"])
        assert error == 0
        assert self._redis.echo("hello") == b"hello"
        self._served += 1

    def stats(self):
        told = self._redis.info("everything")
        return told["mem_clients_held"], told["evicted_clients"], told["evicted_requests"]


def lost(server):
    return server.errors().count("it makes the server hold")


def check_bounded(server):
    assert memory(server, "VmHWM") < server.idle_bytes + BUDGET + SLACK


def check_falls_back(server, attack, slack=16 * MIB):
    attack.over()
    until(lambda: memory(server, "VmRSS") < server.idle_bytes + slack)
    with Honest(server) as honest:
        until(lambda: honest.serve() or honest.stats()[0] < MIB)


def half_a_request(size):
    head = struct.pack(">ihhih", size, 0, 3, 1, -1)
    yield head
    for _ in range((size - 1) // MIB):
        yield bytes(MIB)


def test_half_sent_requests_are_bounded_together(small, attack):
    for _ in range(15):
        attack.begin(small.endpoint, half_a_request(20 * MIB))
    with Honest(small) as honest:
        until(lambda: honest.serve() or lost(small))
        check_bounded(small)
        assert honest.stats()[1] == lost(small) >= 1
    check_falls_back(small, attack)


def transaction(size):
    yield b"*1\r\n$5\r\nMULTI\r\n"
    for _ in range(size // MIB):
        yield b"*2\r\n$4\r\nECHO\r\n$%d\r\n%b\r\n" % (MIB, bytes(MIB))


def test_transactions_that_are_not_ended_are_bounded_together(small, attack):
    for _ in range(10):
        attack.begin(small.redis, transaction(16 * MIB))
    with Honest(small) as honest:
        until(lambda: honest.serve() or lost(small))
        check_bounded(small)
        assert honest.stats()[1] >= 1
    check_falls_back(small, attack)


def test_many_short_commands_of_transactions_are_bounded_together(small, attack):
    """Each is an object or two, however short it is."""
    for _ in range(8):
        commands = [b"*1\r\n$5\r\nMULTI\r\n", *[b"*2\r\n$4\r\nECHO\r\n$1\r\nx\r\n" * 10_000] * 8]
        attack.begin(small.redis, commands)
    with Honest(small) as honest:
        until(lambda: honest.serve() or lost(small))
        check_bounded(small)
    check_falls_back(small, attack, slack=BUDGET // 2 + 8 * MIB)  # small objects lie scattered


FETCHES = 8


def fetch(topics):
    body = struct.pack(">iiiibi", -1, 0, 1, 100 * MIB, 0, len(topics))
    for topic in topics:
        name = topic.encode()
        body += struct.pack(">h", len(name)) + name + struct.pack(">iiqi", 1, 0, 0, 100 * MIB)
    return struct.pack(">ihhih", 10 + len(body), 1, 4, 1, -1) + body


def test_answers_that_are_not_read_are_bounded_together(small, attack):
    # Less than what is sent out of the file at once, so it is read into memory.
    topics = [f"t{number}" for number in range(60)]
    with WireClient(small.endpoint) as client:
        for topic in topics:
            assert client.produce(topic, [bytes(EXTENT_BYTES_MIN - 1000)])[0] == 0
    with Honest(small) as honest:
        for _ in range(EACH * BUDGET // (len(topics) * EXTENT_BYTES_MIN)):
            # Several: the first fit into the buffers of the system.
            attack.begin(small.endpoint, [fetch(topics) * FETCHES], receives=4096)
        until(lambda: honest.serve() or honest.stats()[0] > BUDGET // 8)
        check_bounded(small)
    check_falls_back(small, attack)


def join(group, size):
    request = join_group.Request(
        group_id=group,
        session_timeout_ms=30_000,
        rebalance_timeout_ms=30_000,
        member_id="",
        protocol_type="consumer",
        protocols=[join_group.Protocol("range", bytes(size))],
    )
    return 11, 2, request, join_group.Response


def test_what_members_of_many_groups_say_is_bounded_together(small):
    with WireClient(small.endpoint) as client, Honest(small) as honest:
        codes = [client.ask(*join(f"g{number}", 300_000)).error_code for number in range(200)]
        assert set(codes) == {0, GROUP_MAX_SIZE_REACHED}
        assert codes.count(0) * 300_000 <= BUDGET // 4
        honest.serve()
        assert honest.stats()[2] == codes.count(GROUP_MAX_SIZE_REACHED)
        # Who says little of itself gets in.
        assert client.ask(*join("honest", 500)).error_code == 0
        check_bounded(small)
    assert small.errors().count("a member is refused") >= 1


def test_what_members_of_one_group_say_is_bounded(small, attack):
    with WireClient(small.endpoint) as client:
        first = client.ask(*join("g", 300_000))
        assert first.error_code == 0
    wire = []
    for _ in range(80):
        key, version, request, _ = join("g", 300_000)
        wire.append(request_bytes(key, version, request))
    for data in wire:
        attack.begin(small.endpoint, [data])
    with Honest(small) as honest:
        until(lambda: honest.serve() or honest.stats()[2] >= 80 - BUDGET // 8 // 300_000)
        check_bounded(small)
    attack.over()


def request_bytes(key, version, request):
    from logstore.kafka.schema import codec

    out = bytearray()
    codec(type(request), version, False).write(out, request)
    return struct.pack(">ihhih", 10 + len(out), key, version, 1, -1) + out


def test_one_request_of_the_largest_size_goes_through_when_nothing_else_is_held(small):
    # Half of the budget: it is smaller than socket.request.max.bytes.
    assert "requests are taken up to 33554432 bytes" in small.errors()
    with WireClient(small.endpoint) as client:
        client.create("large")
        batch = bytes(encode([(bytes(MIB - 1000), None, (), 1_700_000_000_000)]).data)
        topics = 31
        for number in range(topics):
            client.create(f"large-{number}")
        body = struct.pack(">hhii", -1, -1, 10_000, topics)
        for number in range(topics):
            name = f"large-{number}".encode()
            body += struct.pack(">h", len(name)) + name
            body += struct.pack(">iii", 1, 0, len(batch)) + batch
        assert 31 * MIB - 50_000 < len(body) < BUDGET // 2
        client.send(0, 3, body)
        _, answer = client.receive()
        assert struct.unpack_from(">i", answer)[0] == topics
        at = 4
        for _ in range(topics):
            (size,) = struct.unpack_from(">h", answer, at)
            _, _, code = struct.unpack_from(">iih", answer, at + 2 + size)
            assert code == 0
            at += 2 + size + 4 + 4 + 2 + 8 + 8
    assert not lost(small)


def test_one_batch_of_the_largest_size_goes_through_when_nothing_else_is_held(start):
    server = start(memory_clients_max_bytes=BUDGET, topic_max_message_bytes=40 * MIB)
    with WireClient(server.endpoint) as client:
        client.create("t")
        batch = bytes(encode([(bytes(31 * MIB), None, (), 1_700_000_000_000)]).data)
        client.send(0, 3, produce_body("t", 0, batch))
        _, answer = client.receive()
        assert struct.unpack_from(">h", answer, 4 + 2 + 1 + 4 + 4)[0] == 0
    assert not lost(server)


def test_a_larger_request_names_the_setting(small):
    with WireClient(small.endpoint) as client:
        client.socket.sendall(struct.pack(">ihhih", BUDGET // 2 + 1, 0, 3, 1, -1))
        assert client.ended()
    until(lambda: "half of memory.clients.max.bytes is 33554432" in small.errors())


def test_slow_subscribers_share_what_they_have_not_read(small):
    """A chunk is counted once: twenty who leave the same 6 MiB unread hold 6 MiB."""
    slow = []
    for _ in range(20):
        peer = socket.create_connection(small.redis, DEADLINE_S)
        peer.sendall(b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n")
        assert peer.recv(100).startswith(b"*3")
        slow.append(peer)
    with Honest(small) as honest, redis.Redis(*small.redis) as publisher:
        for _ in range(6):
            assert publisher.publish("c", bytes(MIB)) == 20
        honest.serve()
        held, losses, _ = honest.stats()
        assert held < 12 * MIB
        assert losses == 0
    for peer in slow:
        peer.close()


STOMP_BEGINS = b"CONNECT\naccept-version:1.2\n\n\0"


def stomp_body_without_end(size):
    yield STOMP_BEGINS + b"SEND\ndestination:/queue/endless\n\n"
    for _ in range(size // MIB):
        yield b"x" * MIB


def stomp_transactions(size):
    """Sixteen of them, each with as many bytes as it may have."""
    yield STOMP_BEGINS
    head = b"SEND\ndestination:/queue/held\ncontent-length:%d\ntransaction:%d\n\n"
    for n in range(size // (4 * MIB)):
        if n % 4 == 0:
            yield b"BEGIN\ntransaction:%d\n\n\0" % (n // 4)
        yield head % (4 * MIB - 1000, n // 4) + b"x" * (4 * MIB - 1000) + b"\0"


@pytest.mark.parametrize("pieces", [stomp_body_without_end, stomp_transactions])
def test_what_stomp_clients_begin_and_do_not_end_is_bounded_together(start, attack, pieces):
    small = start(memory_clients_max_bytes=BUDGET, stomp_port=0)
    with Honest(small) as honest:
        honest.serve()
        small.idle_bytes = memory(small, "VmRSS")
        for _ in range(16):
            attack.begin(small.stomp, pieces(15 * MIB))
        until(lambda: honest.serve() or lost(small))
        check_bounded(small)
        assert honest.stats()[1] >= 1
    check_falls_back(small, attack)
