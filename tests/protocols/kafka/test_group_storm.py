"""Many sessions at once, with requests that are plausible, late, out of turn, or nonsense."""

import random
from collections import Counter

import kio_oracle as kio
import pytest
from door_kit import Talk
from every_request import a_request, check_answer

from logstore.kafka.schema import codec
from logstore.protocols.kafka.apis import APIS

KEYS = [8, 9, 11, 12, 13, 14, 15, 16, 42, 47, 68, 69]
OFTEN = [8, 11, 12, 14, 68]
NEW = (68, 69)  # of the new protocol, which has a group of its own most of the time


class Client:
    """A session, and what it has been told."""

    def __init__(self, node, rng, served):
        self.talk, self.rng = Talk(beside=node), rng
        self.asked = []  # (correlation id, key, version), in order
        self.members = {}  # of the new protocol, and not: member id, generation or epoch
        self.instance = rng.choice([None, None, None, "one", "two"])
        self.ended = False  # its side of the connection: it says nothing more
        self.served = served  # by key, requests that were not refused

    def ask(self):
        rng = self.rng
        key = rng.choice(OFTEN if rng.random() < 0.8 else KEYS)
        version = rng.randint(APIS[key].low, APIS[key].high)
        if rng.random() < 0.05:
            body = a_request(key, version, rng)
        else:
            kind = kio.ours(APIS[key].name).Request
            request = kio.random_message(kind, version, rng)
            self._make_plausible(key, request)
            body = bytearray()
            codec(kind, version, version >= APIS[key].flexible).write(body, request)
        self.asked.append((self.talk.send(key, version, body), key, version))

    def _make_plausible(self, key, request):
        rng = self.rng
        mine = self.members.get(key in NEW, ("", -1))
        member, generation = mine if rng.random() < 0.9 else ("x", 1)
        values = {
            "group_id": lambda: rng.choice(["h" if key in NEW else "g"] * 9 + ["g", "h", ""]),
            "member_id": lambda: member,
            "generation_id": lambda: generation,
            "generation_id_or_member_epoch": lambda: rng.choice([generation, -1]),
            "member_epoch": lambda: rng.choice([0, generation, generation, -1, -2]),
            "group_instance_id": lambda: self.instance,
            "instance_id": lambda: self.instance,
            "session_timeout_ms": lambda: 10_000,
            "rebalance_timeout_ms": lambda: rng.choice([6000, 30_000]),
            "protocol_type": lambda: "consumer",
            "protocol_name": lambda: "range",
            "subscribed_topic_names": lambda: rng.choice([None, ["topic", "other"]]),
            "subscribed_topic_regex": lambda: None,
            "server_assignor": lambda: rng.choice([None, "range"]),
            "topic_partitions": list,
        }
        for name, make in values.items():
            if hasattr(request, name):
                setattr(request, name, make())
        if hasattr(request, "protocols"):
            kind = kio.ours("join_group").Protocol
            request.protocols = [kind("range", b"\0\0"), kind("other", b"")]
        if hasattr(request, "assignments"):
            kind = kio.ours("sync_group").Assignment
            request.assignments = [kind(member, b"it")]

    def hear(self):
        """All that has come; answers are in order, and kio can read them."""
        self.talk.feed(b"")
        while replies := self.talk.replies():
            for correlation, body in replies:
                asked, key, version = self.asked.pop(0)
                assert correlation == asked
                check_answer(key, version, body)
                self._learn(key, version, body)
            self.talk.feed(b"")

    def _learn(self, key, version, body):
        answer = self.talk.read(key, version, kio.ours(APIS[key].name).Response, body)
        if key in (11, 68):
            at = answer.generation_id if key == 11 else answer.member_epoch
            self.members[key in NEW] = answer.member_id or "", at
        self.served[key] += getattr(answer, "error_code", 0) == 0


@pytest.mark.long
@pytest.mark.parametrize("round_", range(4))
def test_whatever_clients_do_all_are_answered_in_order_and_groups_settle(round_):
    seed = f"storm {round_}"
    rng = random.Random(seed)
    node = Talk(settings={"group.initial.rebalance.delay.ms": rng.choice([0, 500])})
    for name in ("topic", "other"):
        node.topics.create(name, 3, {})
    node.keeper.held = True
    served = Counter()
    clients = [Client(node, rng, served) for _ in range(4)]
    for _ in range(4500):
        it = rng.choice(clients)
        what = rng.random()
        if what < 0.6 and len(it.asked) < 5 and not it.ended:
            it.ask()
        elif what < 0.9:
            node.keeper.settle(rng.choice([1, 2, None]))
        elif what < 0.97:
            node.pass_time(rng.choice([0.1, 0.5, 3]))
        elif what < 0.985:
            it.talk.session.close()
            clients[clients.index(it)] = Client(node, rng, served)
        elif what < 0.99:
            it.talk.session.finish(node.now)
            it.ended = True
        for client in clients:
            client.hear()
            nonsense = client.talk.session.closed is not None  # it was no request
            if nonsense or (client.ended and not client.asked):
                clients[clients.index(client)] = Client(node, rng, served)
    for _ in range(20):  # nobody says anything more: every session ends, everybody is answered
        node.pass_time(60)
        node.keeper.settle()
        for client in clients:
            client.hear()
    assert [client.asked for client in clients] == [[]] * len(clients)
    print(seed, served)
    assert all(served[key] for key in KEYS)
    assert node.coordinator.deadline() is None
    assert {it.state for it in node.coordinator.list()} <= {"Empty"}
