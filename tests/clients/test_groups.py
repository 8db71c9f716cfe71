"""Consumer groups of every client: sharing, dying, committing, coming back."""

import signal

import pytest
from members import CLIENTS, SETTINGS, Elsewhere, polled, shared
from serving import Serving
from test_confluent import create, produce

PARTITIONS = 4
RECORDS = [(n % PARTITIONS, b"%d" % n) for n in range(40)]

pytestmark = pytest.mark.filterwarnings("ignore:read_text is deprecated")
every_client = pytest.mark.parametrize("client", CLIENTS)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One that finds its members dead soon; it complains of nothing."""
    running = Serving(tmp_path_factory.mktemp("groups") / "data", **SETTINGS)
    yield running
    assert running.stop() == (0, "")


@pytest.fixture
def filled(server, topic):
    """A topic with ten records in each partition."""
    fill(server, topic)
    return topic


def fill(server, topic, records=RECORDS):
    create(server, topic, PARTITIONS)
    for number in range(PARTITIONS):
        assert produce(server, topic, [it for n, it in records if n == number], number) == []


@pytest.fixture
def join(server, filled):
    """join(client) -> a member of a group of this test's; all are closed after it."""
    joined = []

    def new(client, kind=None, **more):
        make = CLIENTS[client] if kind is None else kind
        words = () if kind is None else (client,)
        joined.append(make(*words, server.address, filled, f"group-{filled}", **more))
        return joined[-1]

    yield new
    for it in joined:
        it.close()


@every_client
def test_two_members_share_and_the_one_left_has_all(client, join):
    one, other = members = [join(client), join(client)]
    found = polled(members, lambda: shared(members, PARTITIONS))
    other.close()
    found += polled([one], lambda: shared([one], PARTITIONS))
    assert {it for part in found for it in part} <= set(RECORDS)


@every_client
def test_what_a_killed_member_had_goes_to_the_other(client, join):
    one, other = members = [join(client), join(client, Elsewhere)]
    polled(members, lambda: shared(members, PARTITIONS))
    other.close()
    polled([one], lambda: shared([one], PARTITIONS))
