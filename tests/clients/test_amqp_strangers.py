"""A crowd of peers that have not logged in, at a server's RabbitMQ door."""

import contextlib
import socket

import pika
import pytest
from served_users import SECRET, ServedUsers
from serving import DEADLINE_S, resident_bytes

from logstore.amqp import frames, methods

PEERS = 500
GROWN_MAX = 24 << 20  # a few KiB for each connection, and buffers that are used again

START = methods.ConnectionStartOk({}, "PLAIN", b"\0root\0wrong", "en_US")
MORE = b"x" * (256 << 10)
SENT = {
    "a frame that is never there": frames.PROTOCOL + b"\1\0\0\x7f\xff\xff\xff" + MORE,
    "much behind a wrong password": frames.PROTOCOL + frames.method_frame(0, START) + MORE,
    "much of what is no frame": MORE,
    "heartbeats": frames.PROTOCOL + frames.HEARTBEAT_FRAME * 2000,
}


@pytest.mark.long
@pytest.mark.parametrize("name", SENT)
def test_a_crowd_of_strangers_takes_no_memory_and_no_place(start, name):
    server = start(resp_port=-1, amqp_port=0)
    ServedUsers(server)
    host, port = server.amqp
    before = resident_bytes(server)
    with contextlib.ExitStack() as stack:
        for _ in range(PEERS):
            peer = stack.enter_context(socket.create_connection((host, port), DEADLINE_S))
            peer.setblocking(False)
            with contextlib.suppress(BlockingIOError, ConnectionError):
                peer.send(SENT[name])
        # Whoever is one of us comes in meanwhile; when it has, all of the others were heard.
        credentials = pika.PlainCredentials("root", SECRET)
        mine = pika.BlockingConnection(
            pika.ConnectionParameters(host, port, credentials=credentials)
        )
        mine.channel().queue_declare("q")
        assert resident_bytes(server) - before < GROWN_MAX
        mine.close()
    code, errors = server.stop()
    assert (code, "Traceback" in errors) == (0, False)
