"""``rm -rf`` below a running server: both doors answer with errors, and acknowledge nothing."""

import itertools
import shutil

import confluent_kafka
import pytest
from redis_parts import Raw, request
from serving import DEADLINE_S, Serving
from waiting import until

pytestmark = pytest.mark.long

CONFIGURED = '[[channel]]\npattern = "orders.*"\nhistory = "1h"\n'
CHANNEL = "orders.eu"


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "logstore.toml").write_text(CONFIGURED)
    running = Serving(folder)
    yield running
    code, errors = running.stop()
    assert code == 1, errors  # what is lost is told again at the end
    assert "Traceback" not in errors, errors


@pytest.fixture
def ask(server):
    """ask(*words) -> the reply."""
    connection, marks = Raw(server), itertools.count()

    def run(*words):
        before, mark = len(connection.got), f"mark {next(marks):03}"
        connection.send(request(*words) + request("ECHO", mark))
        end = f"$8\r\n{mark}\r\n".encode()
        return connection.until(end)[before : -len(end)]

    yield run
    connection.close()


def produced(server, topic):
    """The error of a record sent with acks=all; None: it was acknowledged."""
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": server.address, "acks": "all", "retries": 0,
         "message.timeout.ms": 5000}
    )  # fmt: skip
    outcome = []
    producer.produce(topic, b"x", on_delivery=lambda error, _: outcome.append(error))
    assert producer.flush(DEADLINE_S) == 0
    return outcome[0]


@pytest.mark.parametrize("what", ["", f"/{CHANNEL}-0"])
def test_publishes_and_produces_are_refused_once_it_is_noticed(server, ask, what):
    assert ask("PUBLISH", CHANNEL, "before") == b":0\r\n"
    assert produced(server, "other") is None
    shutil.rmtree(f"{server.data}{what}")
    # Nobody writes: the server looks by itself.
    until(lambda: "removed" in server.errors())
    for _ in range(3):
        reply = ask("PUBLISH", CHANNEL, "after")
        assert reply.startswith(b"-"), reply
        assert b"removed" in reply
        assert produced(server, CHANNEL) is not None
    assert (produced(server, "other") is None) == bool(what)  # the others go on
    assert server.errors().count("was removed") == 1
