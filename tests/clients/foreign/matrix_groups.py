"""What every client is asked to do in consumer groups."""

from typing import ClassVar

from matrix_records import records
from speaking import until

PARTITIONS = 4


def spread(first, count):
    """Records over all partitions."""
    return [it | {"partition": n % PARTITIONS, "value": f"{first + n}"}
            for n, it in enumerate(records(count))]  # fmt: skip


def numbers(*members):
    return sorted(int(value) for it in members for _, _, value in it.records)


def shared(*members):
    """Whether each has some of the partitions, and together they have each once."""
    held = [p for it in members for p in it.partitions]
    return sorted(held) == list(range(PARTITIONS)) and all(it.partitions for it in members)


def positions(*members):
    found = {}
    for it in members:
        for p, offset in it.committed.items():
            found[p] = max(found.get(p, 0), offset)
    return found


class Groups:
    settings: ClassVar = {}  # of the members: protocol, assignor

    def test_a_member_commits_and_another_goes_on_from_there(self, client, join, topic):
        group = f"group-of-{topic}"
        client("create", topic=topic, partitions=PARTITIONS)
        client("produce", topic=topic, records=spread(0, 40))
        first = join(topic, group, **self.settings)
        until(lambda: positions(first) == dict.fromkeys(range(PARTITIONS), 10), first)
        assert numbers(first) == list(range(40))
        first.close()
        told = client("committed", group=group)["committed"]
        assert told == {str(p): 10 for p in range(PARTITIONS)}
        client("produce", topic=topic, records=spread(40, 8))
        second = join(topic, group, **self.settings)
        until(lambda: len(second.records) >= 8, second)
        assert numbers(second) == list(range(40, 48))

    def test_two_members_share_and_one_takes_over_when_the_other_dies(self, client, join, topic):
        group = f"group-of-{topic}"
        client("create", topic=topic, partitions=PARTITIONS)
        one = join(topic, group, **self.settings)
        two = join(topic, group, **self.settings)
        until(lambda: shared(one, two), one, two)
        client("produce", topic=topic, records=spread(0, 40))
        everything = dict.fromkeys(range(PARTITIONS), 10)
        until(lambda: positions(one, two) == everything, one, two)
        assert numbers(one, two) == list(range(40))
        assert one.records
        assert two.records
        two.kill()
        until(lambda: shared(one), one)
        client("produce", topic=topic, records=spread(40, 40))
        until(lambda: len(numbers(one, two)) >= 80, one)
        assert numbers(one, two) == list(range(80))

    def test_a_member_that_leaves_gives_its_partitions_back(self, client, join, topic):
        group = f"group-of-{topic}"
        client("create", topic=topic, partitions=PARTITIONS)
        one = join(topic, group, **self.settings)
        two = join(topic, group, **self.settings)
        until(lambda: shared(one, two), one, two)
        one.close()
        until(lambda: shared(two), two)
        client("produce", topic=topic, records=spread(0, 8))
        until(lambda: len(two.records) >= 8, two)
        assert numbers(two) == list(range(8))

    def test_a_member_that_hung_is_fenced_and_comes_back(self, client, join, topic):
        group = f"group-of-{topic}"
        client("create", topic=topic, partitions=PARTITIONS)
        one = join(topic, group, **self.settings)
        two = join(topic, group, **self.settings)
        until(lambda: shared(one, two), one, two)
        two.hang()
        until(lambda: shared(one), one)
        client("produce", topic=topic, records=spread(0, 40))
        everything = dict.fromkeys(range(PARTITIONS), 10)
        until(lambda: positions(one) == everything, one)
        two.go_on()
        until(lambda: shared(one, two), one, two)
        told = client("committed", group=group)["committed"]
        assert told == {str(p): 10 for p in range(PARTITIONS)}
        client("produce", topic=topic, records=spread(40, 40))
        twice = dict.fromkeys(range(PARTITIONS), 20)
        until(lambda: positions(one, two) == twice, one, two)
        # What had been fetched for the one that hung it may see again, but not commit.
        assert set(numbers(one, two)) == set(range(80))
        assert [n for n in numbers(one, two) if n >= 40] == list(range(40, 80))
        told = client("committed", group=group)["committed"]
        assert told == {str(p): 20 for p in range(PARTITIONS)}

    def test_partitions_that_are_added_are_taken_in(self, client, join, topic):
        group = f"group-of-{topic}"
        client("create", topic=topic, partitions=2)
        only = join(topic, group, **self.settings)
        until(lambda: only.partitions == {0, 1}, only)
        client("grow", topic=topic, partitions=PARTITIONS)
        until(lambda: shared(only), only)
        client("produce", topic=topic, records=spread(0, 8))
        until(lambda: len(only.records) >= 8, only)
        assert numbers(only) == list(range(8))

    def test_topics_are_subscribed_to_by_a_pattern(self, client, join, topic):
        self.hears_of_another_topic(
            client, self.subscribed_to_by_a_pattern(client, join, topic), topic
        )

    def subscribed_to_by_a_pattern(self, client, join, topic):
        client("create", topic=f"{topic}-a")
        only = join(topic, f"group-of-{topic}", pattern=f"^{topic}-.*", **self.settings)
        client("produce", topic=f"{topic}-a", records=[{"partition": 0, "value": "1"}])
        until(lambda: numbers(only) == [1], only)
        return only

    def hears_of_another_topic(self, client, only, topic):
        client("create", topic=f"{topic}-b")
        client("produce", topic=f"{topic}-b", records=[{"partition": 0, "value": "2"}])
        until(lambda: numbers(only) == [1, 2], only)

    def test_groups_are_listed_described_reset_and_deleted(self, client, join, topic):
        group = f"group-of-{topic}"
        client("create", topic=topic, partitions=PARTITIONS)
        client("produce", topic=topic, records=spread(0, 8))
        only = join(topic, group, **self.settings)
        until(lambda: positions(only) == dict.fromkeys(range(PARTITIONS), 2), only)
        assert group in client("groups")["groups"]
        told = client("group", group=group, **self.settings)
        assert told["state"].lower() == "stable"
        assert (told["members"], told["partitions"]) == (1, list(range(PARTITIONS)))
        only.close()
        assert client("group", group=group, **self.settings)["state"].lower() == "empty"
        client("reset", group=group, topic=topic, partition=1, offset=0)
        assert client("committed", group=group)["committed"]["1"] == 0
        again = join(topic, group, **self.settings)
        until(lambda: positions(again).get(1) == 2, again)
        assert numbers(again) == [1, 5]
        again.close()
        client("delete_group", group=group)
        assert group not in client("groups")["groups"]
