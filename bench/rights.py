"""What does it cost to ask whether a client may do what it asks for?

It is asked once for each request and topic, or each run of messages. A server with users and
10,000 rules is asked about a topic that was asked about before (bar 1 us); the same as the Kafka
door asks, by what a topic's name stands for, and as the RabbitMQ door asks, for the exchange of a
run, and for a routing key that a topic permission limits; and a server without users. Beside it
stands the first question about a topic, with ten rules and with 10,000, which comes once after each
change of rules. Microseconds of processor time.
"""

from collections.abc import Callable
from pathlib import Path

from bench.harness import Figure, bound, cpu_seconds, script, size
from logstore.access.access import Access, Unkept
from logstore.access.identity import Identity
from logstore.access.refusals import Refusals
from logstore.access.resources import EXCHANGE, READ, TOPIC, WRITE
from logstore.access.rights import Rights
from logstore.kept.users import (
    GLOB,
    PREFIX,
    KeptAccess,
    KeptRule,
    KeptTopicPermission,
    KeptUser,
)
from logstore.protocols.kafka.objects import Objects
from logstore.protocols.rabbit_login import Admitted
from logstore.protocols.rabbit_permits import AskKey, Permits

RULES = size(10_000, 100)
TOPICS = 1000
TURNS = size(200, 1)
KNOWN_US = 1.0
WHO = Identity("al", "10.0.0.1", "PLAIN", "kafka")


def rules(count: int) -> list[KeptRule]:
    """Rules by name, by prefix and by pattern, some of which deny; most concern others' topics."""
    shapes: list[Callable[[int], KeptRule]] = [
        lambda n: KeptRule("al", WRITE, TOPIC, f"topic-{n}"),
        lambda n: KeptRule("al", READ, TOPIC, f"area{n}.", PREFIX),
        lambda n: KeptRule("*", READ, TOPIC, f"secret{n}.*", GLOB, allow=False),
        lambda n: KeptRule(f"user-{n}", WRITE, TOPIC, f"topic-{n}"),
    ]
    made = [shapes[n % len(shapes)](n) for n in range(count)]
    return [*made, KeptRule("al", WRITE, TOPIC, "topic-", PREFIX)]


def rights(count: int) -> Rights:
    access = Access(Unkept(KeptAccess(users=[KeptUser("al")], rules=rules(count))))
    return access.rights(WHO)


def permits(exchanges: list[str]) -> Permits:
    """A connection's permits at the RabbitMQ door, with a topic permission at the first
    exchange.
    """
    known = KeptAccess(
        users=[KeptUser("al")],
        rules=[*rules(RULES), *(KeptRule("al", WRITE, EXCHANGE, name) for name in exchanges)],
        topic_permissions=[KeptTopicPermission("al", "/", exchanges[0], "^topic-", "")],
    )
    access = Access(Unkept(known))
    return Permits(access, Refusals(lambda: 0.0), Admitted(WHO, "al"), "/")


def measure(_: Path, rounds: int) -> list[Figure]:
    names = [f"topic-{number}" for number in range(TOPICS)]
    many, few, open_to_all = rights(RULES), rights(10), Access(Unkept()).rights(WHO)
    objects = Objects()
    for name in names:
        assert many.may(WRITE, *objects.of_topic(name))

    def each(asks: Callable[[str], object], turns: int = TURNS) -> list[float]:
        def work() -> None:
            for _ in range(turns):
                for name in names:
                    asks(name)

        return [cpu_seconds(work) / turns / TOPICS * 1e6 for _ in range(rounds)]

    def asked(which: Rights) -> Callable[[str], object]:
        return lambda name: which.may(WRITE, TOPIC, name)

    def by_door(name: str) -> bool:
        return many.may(WRITE, *objects.of_topic(name))

    permitted = permits(names)
    encoded = {name: name.encode() for name in names}
    keys = {name: AskKey(WRITE, names[0].encode(), name.encode()) for name in names}

    def first(which: Rights) -> Callable[[str], object]:
        return lambda name: which.decision(WRITE, TOPIC, name)

    return [
        bound("a topic that was asked for before", "us", each(asked(many)), bar=KNOWN_US),
        bound("the same, as the Kafka door asks", "us", each(by_door), bar=KNOWN_US),
        bound(
            "an exchange, as the RabbitMQ door asks",
            "us",
            each(lambda name: permitted.check_publish(encoded[name])),
            bar=KNOWN_US,
        ),
        bound(
            "a routing key, as the RabbitMQ door asks",
            "us",
            each(lambda name: permitted.require(keys[name])),
            bar=KNOWN_US,
        ),
        bound("the first time, 10,000 rules", "us", each(first(many), 1), bar=None),
        bound("the first time, 10 rules", "us", each(first(few), 1), bar=None),
        bound("without users", "us", each(asked(open_to_all)), bar=KNOWN_US),
    ]


if __name__ == "__main__":
    script(__doc__, measure)
