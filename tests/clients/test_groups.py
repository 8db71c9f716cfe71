"""Consumer groups of every client: sharing, dying, committing, coming back."""

import gc
import signal

import pytest
from librdkafka import create, produce
from members import CLIENTS, SETTINGS, Elsewhere, polled, shared
from serving import Serving

PARTITIONS = 4
RECORDS = [(n % PARTITIONS, b"%d" % n) for n in range(40)]

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore:read_text is deprecated")]
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
    polled(members, lambda: shared(members, PARTITIONS))
    other.close()
    polled([one], lambda: shared([one], PARTITIONS))


@every_client
def test_what_a_killed_member_had_goes_to_the_other(client, join):
    one, other = members = [join(client), join(client, Elsewhere)]
    polled(members, lambda: shared(members, PARTITIONS))
    other.close()
    polled([one], lambda: shared([one], PARTITIONS))


# kafka-python and aiokafka leave sockets behind that they could not connect.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@every_client
def test_a_killed_server_knows_what_was_committed(client, start):
    server = start(**SETTINGS)
    fill(server, "t")
    make = CLIENTS[client]
    member = make(server.address, "t", "g")
    assert values(member, len(RECORDS)) == sorted(value for _, value in RECORDS)
    member.commit()
    server.stop(signal.SIGKILL)
    server = start(port=server.endpoint[1], **SETTINGS)
    for number in range(PARTITIONS):
        assert produce(server, "t", [b"after"], number) == []
    assert values(member, PARTITIONS) == [b"after"] * PARTITIONS  # the same member: nothing twice
    member.close()
    again = make(server.address, "t", "g")  # what was not committed comes once more
    assert values(again, PARTITIONS) == [b"after"] * PARTITIONS
    again.commit()
    again.close()
    del member, again
    gc.collect()  # here, not in another test, is their socket's end complained of


def values(member, count):
    """The next so many, sorted."""
    found = []
    polled([member], lambda: len(found) >= count, found.extend)
    return sorted(value for _, value in found)


@every_client
def test_a_static_member_comes_back_to_its_partitions_and_nobody_notices(client, join):
    one, other = members = [join(client, instance="one"), join(client, instance="other")]
    polled(members, lambda: shared(members, PARTITIONS))
    before, rebalances = (one.assigned(), other.assigned()), one.rebalances
    other.close()
    again = join(client, instance="other")
    members = [one, again]
    polled(members, lambda: shared(members, PARTITIONS))
    assert (one.assigned(), again.assigned()) == before
    assert one.rebalances == rebalances


@pytest.mark.parametrize("client", ["confluent", "confluent-consumer"])
def test_topics_are_subscribed_to_by_a_pattern(server, filled, client):
    """The client matches it in the classic protocol, the server in the new one."""
    member = CLIENTS[client](server.address, f"^{filled}$", f"pattern-{filled}")
    polled([member], lambda: shared([member], PARTITIONS))
    member.close()
