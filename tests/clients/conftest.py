import itertools

import pytest
from serving import Serving


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server for the tests of a module; it ends in an orderly way and complains of nothing."""
    running = Serving(tmp_path_factory.mktemp("served") / "data")
    yield running
    code, errors = running.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """As ``server``, with the RabbitMQ door, and without the Redis one."""
    running = Serving(tmp_path_factory.mktemp("amqp") / "data", resp_port=-1, amqp_port=0)
    yield running
    code, errors = running.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


@pytest.fixture
def start(tmp_path):
    """start(**settings) -> Serving, on one data directory, as often as a test likes."""
    running = []

    def run(**settings):
        running.append(Serving(tmp_path / "data", **settings))
        return running[-1]

    yield run
    for it in running:
        if it.process.poll() is None:
            it.stop()


_numbers = itertools.count()


@pytest.fixture
def topic():
    """A name that no other test uses."""
    return f"topic-{next(_numbers)}"
