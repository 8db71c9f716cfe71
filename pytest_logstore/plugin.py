"""Options, fixtures and hooks. What they need is imported once a test asks for it."""

import os
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import pytest

if TYPE_CHECKING:
    from logstore.store import Store
    from pytest_logstore.faults import Faults
    from pytest_logstore.server import Server

Reset = Literal["none", "names", "wipe"]
RESETS: Final = ("none", "names", "wipe")
TEST_URL: Final = "LOGSTORE_TEST_URL"
LOG_LINES: Final = 50  # of a server, in the report of a failed test
# Whoever asks for one of these uses a server.
OF_A_SERVER: Final = frozenset(
    {
        "logstore_server", "logstore", "logstore_clean", "logstore_faults", "logstore_http_url",
        "kafka_bootstrap", "redis_url", "amqp_url", "kafka_topic", "amqp_queue", "redis_channel",
    }
)  # fmt: skip
# These are of the session, and so of its one server.
OF_THE_SESSION: Final = (
    "logstore_server", "kafka_bootstrap", "redis_url", "amqp_url", "logstore_http_url",
)  # fmt: skip

_SHARED: Final = pytest.StashKey["Server"]()  # of the session: the server, once there is one
_OWN: Final = pytest.StashKey["Server"]()  # of a test: the server that it has for itself


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("logstore", "a logstore server for tests")
    reset_help = (
        "How tests that share a server are kept apart: by names of their own (names), by removing "
        "everything after each test (wipe), or not at all (none). Defaults to logstore_reset."
    )
    group.addoption("--logstore-reset", choices=RESETS, default=None, help=reset_help)
    parser.addini("logstore_reset", "As --logstore-reset; defaults to names.", default="names")
    parser.addini(
        "logstore_settings", "Settings of the server, one NAME=VALUE a line.", "linelist", []
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "logstore(settings=None, isolated=False): a server for this test alone, with these "
        "settings; take the fixture logstore.",
    )


# The server


@pytest.fixture(scope="session")
def logstore_server(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[Server]":
    """A `logstore serve` on free ports, one for each process of pytest-xdist.

    Attributes: kafka (host:port), redis, amqp and http (URLs), data, log; see docs/testing.md.
    """
    from pytest_logstore.server import RunningServer, ServerProcess

    url = os.environ.get(TEST_URL, "")
    if url and _reset(pytestconfig) == "wipe":
        pytest.fail(f"--logstore-reset=wipe: {TEST_URL} names a server that others use", False)
    server: Server = (
        RunningServer(url)
        if url
        else ServerProcess(tmp_path_factory.mktemp("logstore"), _settings(pytestconfig))
    )
    with server:
        pytestconfig.stash[_SHARED] = server
        yield server
    del pytestconfig.stash[_SHARED]


@pytest.fixture
def logstore(request: pytest.FixtureRequest) -> "Iterator[Server]":
    """The server of the session; of a test with the marker logstore, its own one."""
    marker = request.node.get_closest_marker("logstore")
    if marker is None:
        server: Server = request.getfixturevalue("logstore_server")
        yield _named(server, _reset(request.config))
        return
    from pytest_logstore.server import ServerProcess

    settings, isolated = _of_marker(*marker.args, **marker.kwargs)
    if not settings and not isolated:
        pytest.fail("the marker logstore says nothing: settings={...}, or isolated=True", False)
    folder = request.getfixturevalue("tmp_path_factory").mktemp("logstore")
    with ServerProcess(folder, _settings(request.config) | settings) as server:
        request.node.stash[_OWN] = server
        yield server


def _of_marker(
    settings: dict[str, Any] | None = None, *, isolated: bool = False
) -> tuple[dict[str, str], bool]:
    from pytest_logstore.server import setting_text

    return {name: setting_text(it) for name, it in (settings or {}).items()}, isolated


@pytest.fixture
def logstore_clean(logstore: "Server") -> "Iterator[Server]":
    """The same, emptied before the test and after it, whatever --logstore-reset says."""
    _check_ours(logstore, "be emptied")
    logstore.empty()
    yield logstore
    logstore.resume()
    logstore.empty()


@pytest.fixture
def logstore_faults(logstore: "Server") -> "Iterator[Faults]":
    """What may happen to a server: it hangs, cuts clients off, its disk is slow or full."""
    from pytest_logstore.faults import Faults

    _check_ours(logstore, "be given faults")
    faults = Faults(logstore)
    yield faults
    faults.end()


@pytest.fixture(scope="session")
def kafka_bootstrap(logstore_server: "Server") -> str:
    """``bootstrap.servers`` of Kafka clients: host:port."""
    return logstore_server.kafka


@pytest.fixture(scope="session")
def redis_url(logstore_server: "Server") -> str:
    """The URL for Redis clients: redis://host:port/0."""
    return logstore_server.redis


@pytest.fixture(scope="session")
def amqp_url(logstore_server: "Server") -> str:
    """The URL for RabbitMQ clients: amqp://guest:guest@host:port/%2F."""
    return logstore_server.amqp


@pytest.fixture(scope="session")
def logstore_http_url(logstore_server: "Server") -> str:
    """Where page and HTTP API are: http://host:port."""
    return logstore_server.http


# Things of one test


@pytest.fixture
def kafka_topic(logstore: "Server") -> Iterator[Callable[..., str]]:
    """What makes topics for the test, of a name, partitions and settings; it gives the name."""
    from pytest_logstore.factories import topics

    yield from topics(logstore)


@pytest.fixture
def amqp_queue(logstore: "Server") -> Iterator[Callable[..., str]]:
    """What makes queues for the test, of a name and arguments; it gives the name."""
    from pytest_logstore.factories import queues

    yield from queues(logstore)


@pytest.fixture
def redis_channel() -> Callable[..., str]:
    """What makes names of channels that no other test has."""
    from pytest_logstore.factories import fresh

    return lambda name="channel": fresh(name)


@pytest.fixture
def logstore_store(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Store]":
    """A store in this process, in a directory of its own, without a server."""
    from logstore.store import open_store

    with open_store(tmp_path_factory.mktemp("logstore") / "data") as store:
        yield store


# How tests are kept apart


def _settings(config: pytest.Config) -> dict[str, str]:
    found = {}
    for line in config.getini("logstore_settings"):
        name, equals, value = line.partition("=")
        if not equals:
            raise pytest.UsageError(f"logstore_settings: {line!r} is not NAME=VALUE")
        found[name.strip()] = value.strip()
    return found


def _reset(config: pytest.Config) -> Reset:
    found = config.getoption("--logstore-reset") or config.getini("logstore_reset")
    if found not in RESETS:
        raise pytest.UsageError(f"logstore_reset = {found}: must be one of {', '.join(RESETS)}")
    return cast(Reset, found)


def _named(server: "Server", reset: Reset) -> "Server":
    from pytest_logstore.factories import fresh

    server.prefix = f"{fresh('t')}-" if reset == "names" else ""
    return server


def _check_ours(server: "Server", what: str) -> None:
    if not server.ours:
        pytest.skip(f"{TEST_URL} names a server that was not started here, and may not {what}")


def _uses_a_server(item: pytest.Item) -> bool:
    return not OF_A_SERVER.isdisjoint(getattr(item, "fixturenames", ()))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test with a server of its own can't have addresses of the session's."""
    if item.get_closest_marker("logstore") is None:
        return
    wrong = [it for it in OF_THE_SESSION if it in getattr(item, "fixturenames", ())]
    if wrong:
        pytest.fail(
            f"a test with the marker logstore has a server of its own, and {wrong[0]} is of the "
            f"session's: take the fixture logstore, and its kafka, redis, amqp or http",
            pytrace=False,
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """After whatever of the test has used it has ended, the session's server is as before."""
    try:
        yield
    finally:
        server = item.config.stash.get(_SHARED, None)
        if server is not None and _uses_a_server(item):
            server.recover()
            if _reset(item.config) == "wipe":
                server.empty()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what its server said last."""
    report = yield
    if not report.failed or not _uses_a_server(item):
        return report
    server = item.stash.get(_OWN, None) or item.config.stash.get(_SHARED, None)
    if server is not None:
        said = server.log.splitlines()[-LOG_LINES:]
        report.sections.append(("logstore server", "\n".join(said) or "it said nothing"))
    return report
