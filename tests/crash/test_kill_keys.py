import random
import socket
import threading
from types import SimpleNamespace

import pytest

from tests.crash import kill_keys

LOADING = b"-LOADING Redis is loading the dataset in memory\r\n"
MOST = 40  # more than one request of a writer has commands


@pytest.mark.long
def test_keys_that_were_answered_are_there_though_the_server_is_killed(tmp_path):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    totals = kill_keys.run(5, seed, str(tmp_path / "store"))
    print(totals)
    assert totals.rounds == 5
    assert totals.answered


def written_to(*answers):
    """A writer, and how much was answered to it: to what it sends, these, and then it is gone."""
    writer, count = kill_keys.Writer(b"w0"), [0]
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            side, _ = listening.accept()
            with side:
                for data in answers:
                    side.recv(1 << 16)
                    side.sendall(data)
                side.shutdown(socket.SHUT_WR)
                while side.recv(1 << 16):
                    pass

        server = threading.Thread(target=answer, daemon=True)
        server.start()
        writer.write(SimpleNamespace(redis=listening.getsockname()), 7, count)
        server.join()
    return writer, count[0]


def test_nothing_is_put_before_the_keys_are_loaded():
    writer, count = written_to(LOADING, LOADING)
    assert not writer.sent
    assert not count


def test_what_was_refused_was_not_answered():
    writer, count = written_to(b"+PONG\r\n", LOADING * MOST)
    assert any(writer.sent.values())
    assert not any(writer.answered.values())
    assert writer.refused
    assert not count


def test_what_was_answered_in_whole_lines_counts():
    writer, count = written_to(LOADING, b"+PONG\r\n", b"+OK\r\n:1\r\n+O")
    assert sum(writer.answered.values()) == count == 2
    assert not writer.refused
