import json
from contextlib import ExitStack

import pytest

pytest.register_assert_rewrite(
    "matrix_records",
    "matrix_admin",
    "matrix_groups",
    "matrix_transactions",
    "speaking",
    "exercising",
)

import workshop  # noqa: E402  after what it imports is to be rewritten
from serving import Serving  # noqa: E402
from speaking import Client, Member  # noqa: E402


def pytest_collection_modifyitems(items):
    for it in items:
        if "foreign" in it.path.parts:
            it.add_marker("foreign")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """As the other client tests have it, but members of the new protocol are missed sooner."""
    running = Serving(
        tmp_path_factory.mktemp("served") / "data",
        group_consumer_session_timeout_ms=6000,
        group_consumer_heartbeat_interval_ms=500,
    )
    yield running
    code, errors = running.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


@pytest.fixture(scope="session")
def built():
    """built(name) -> the command of a client; without its tools the test is skipped."""

    def build(name):
        try:
            return workshop.CLIENTS[name]()
        except workshop.NoTool as lacking:
            pytest.skip(f"{name}: {lacking}")

    return build


@pytest.fixture(scope="module")
def speaking_to(server, built):
    """speaking_to(name) -> a client that is told what to do, one for all tests of a module."""
    running = {}
    with ExitStack() as stack:

        def client(name):
            if name not in running:
                running[name] = Client([*built(name), server.address])
                stack.callback(running[name].close)
            return running[name]

        yield client


@pytest.fixture
def client(request, speaking_to):
    """The client of the test's class."""
    return speaking_to(request.cls.client_name)


@pytest.fixture
def join(request, server, built):
    """join(topic, group, **settings) -> a new member of a group, in a process of its own."""
    with ExitStack() as stack:

        def start(topic, group, name=None, **settings):
            told = json.dumps({"topic": topic, "group": group, **settings})
            command = built(name or request.cls.client_name)
            member = Member([*command, server.address, "member", told])
            stack.callback(member.close)
            return member

        yield start
