"""The first words to servers that are not like ours."""

import socket
import struct
import threading
from contextlib import closing

import pytest
from logstore_cli.cluster.address import Address
from logstore_cli.login import Login

from logstore.errors import Failed, Refused
from logstore.kafka.messages import metadata, sasl_handshake
from logstore.kafka.schema import codec

HANDSHAKE, METADATA = 17, 3
ANSWERS = {HANDSHAKE: sasl_handshake.Response, METADATA: metadata.Response}


class Broker:
    """Answers requests as ``answers`` says, by the key: None ends the connection.

    Bytes are sent as they are, and end it, too.
    """

    def __init__(self, answers):
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                while self._answer(connection):
                    pass

    def _answer(self, connection):
        head = connection.recv(4)
        if len(head) < 4:
            return False
        frame = connection.recv(struct.unpack(">i", head)[0])
        key, version, correlation = struct.unpack(">hhi", frame[:8])
        answer = self._answers.get(key)
        if answer is None:
            return False
        if isinstance(answer, bytes):  # of another protocol
            connection.sendall(answer)
            return False
        body = bytearray(struct.pack(">i", correlation))
        codec(ANSWERS[key], version, False).write(body, answer)
        connection.sendall(struct.pack(">i", len(body)) + body)
        return True

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


OPEN = metadata.Response()
ANA = Login("ana", lambda: "secret")


def reach(answers, login=None):
    with closing(Broker(answers)) as broker:
        Address(broker.address, login).reach()


def test_a_server_that_asks_nobody_is_reached():
    reach({HANDSHAKE: sasl_handshake.Response(34)})


def test_a_broker_that_does_not_know_of_logins_is_reached():
    reach({HANDSHAKE: sasl_handshake.Response(35)})
    reach({METADATA: OPEN})  # it ends the connection at what it does not know


def test_whoever_answers_nothing_is_no_broker():
    said = (
        "before its first reply; check that this is the port for Kafka clients; if this port uses"
    )
    with pytest.raises(Failed, match=f"{said} TLS, use --tls-ca FILE"):
        reach({})


@pytest.mark.parametrize("greeting", [b"AMQP\0\0\x09\x01", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_another_door_is_told_at_once_from_one_for_kafka(greeting):
    with closing(Broker({HANDSHAKE: greeting})) as broker:
        said = "answers in another protocol; check that this is the port for Kafka clients"
        with pytest.raises(Failed, match=said):
            Address(broker.address).reach()


def test_a_login_where_none_is_taken_is_refused():
    with pytest.raises(Refused, match="the server has no login: leave --user out"):
        reach({HANDSHAKE: sasl_handshake.Response(34)}, ANA)
    for answers in ({METADATA: OPEN}, {HANDSHAKE: sasl_handshake.Response(35), METADATA: OPEN}):
        with pytest.raises(Failed, match="closed the connection"):
            reach(answers, ANA)


@pytest.mark.parametrize("error", [0, 33])
def test_a_server_that_asks_says_what_it_takes(error):
    answer = sasl_handshake.Response(error, ["GSSAPI", "PLAIN"])
    with pytest.raises(Refused, match=r"use --user NAME \(mechanisms: GSSAPI, PLAIN\)"):
        reach({HANDSHAKE: answer})
    with pytest.raises(
        Refused, match="the server accepts the login mechanisms GSSAPI, not one that keeps"
    ):
        reach({HANDSHAKE: sasl_handshake.Response(33, ["GSSAPI"])}, ANA)
