"""Frames that make no sense, in any order and cut anywhere: an answer, an ERROR, never a bug."""

import pytest
from amqp_kit import Node
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stomp_kit import Door

from logstore.protocols.stomp.handlers import HANDLERS

NAMES = st.sampled_from([
    "destination", "id", "ack", "message-id", "receipt", "transaction", "durable", "auto-delete",
    "exclusive", "x-queue-name", "prefetch-count", "reply-to", "persistent", "priority",
    "expiration", "x-max-length", "x-message-ttl", "x-queue-type", "x-stream-offset", "requeue",
    "heart-beat", "accept-version", "host", "login", "content-length", "selector", "x-priority",
    "x-dead-letter-exchange", "user-id", "timestamp", "x-max-priority", "x-stream-filter",
])  # fmt: skip
VALUES = st.one_of(
    st.sampled_from([
        "/queue/a", "/queue/b", "/topic/t", "/exchange/amq.direct/k", "/amq/queue/a", "0", "1",
        "client", "auto", "client-individual", "true", "false", "t", "stream", "quorum", "first",
        "/temp-queue/x", "offset=0", "guest", "-1", "10", "99999999999999999999", "1.2", "a",
        "T_0@@{session}@@1", "T_1@@{session}@@2", "/reply-queue/a", "", "amq.direct", "5000,5000",
    ]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r:"), max_size=8),
)  # fmt: skip
FRAMES = st.tuples(
    st.sampled_from([*HANDLERS, "DISCONNECT", "CONNECT", "NONSENSE"]),
    st.dictionaries(NAMES, VALUES, max_size=6),
    st.sampled_from([b"", b"x", b"body" * 20]),
)


@pytest.fixture(scope="module")
def queues(tmp_path_factory):
    made = Node(tmp_path_factory.mktemp("fuzz"))
    yield made
    made.close()


@given(st.lists(FRAMES, max_size=12), st.lists(st.integers(1, 80), min_size=1, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_comes_is_carried_out_or_ends_with_one_error(queues, frames, cuts):
    door = Door(None, node=queues)
    peer = door.open()
    raw = b"".join(
        command.encode() + b"\n" + "".join(
            f"{name}:{value.replace('{session}', peer.client.id)}\n"
            for name, value in headers.items()
        ).replace("\\", "").encode() + b"\n" + body + b"\0"
        for command, headers, body in frames
    )  # fmt: skip
    at, turn = 0, 0
    while at < len(raw) and peer.closed is None:
        size = cuts[turn % len(cuts)]
        peer.give(raw[at : at + size])
        at, turn = at + size, turn + 1
        queues.step()
    door.run()
    got = peer.got()
    errors = [it for it in got if it.command == "ERROR"]
    assert len(errors) <= 1
    assert not errors or got[-1] is errors[0]
    assert not errors or peer.closed
    peer.end()
    door.run()
    assert not door.door.sessions
    assert peer.client not in door.vhost.guests
    for queue in list(door.vhost.queues()):
        assert all(it.channel is not peer.client for it in queue.subscriptions)
        door.vhost.delete_queue(queue)
    door.run()
