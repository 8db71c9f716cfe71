"""Nodes that own partitions, whatever happens to them: what was acknowledged, and by whom.

The group says anything: that several should own a partition, or nobody. Nodes are stopped for a
while and go on, are cut off, lose answers to what was done. The broker is restarted, and knows of
producers only what stands then; or the cluster forgets the partitions' names, as it does with such
that were not used for a week.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from owning_nodes import SaidGroup, pass_time, restart_broker, some_nodes, standing, values

from logstore.cluster.claims import Claims, word_of
from logstore.records.decode import decode

PARTITIONS = 2
NODES = st.integers(1, 3)
NUMBERS = st.integers(0, PARTITIONS - 1)


class OwnershipModel(RuleBasedStateMachine):
    """Node 0 owns nothing, and time passes by it."""

    @initialize(names_are_forgotten=st.booleans())
    def begin(self, names_are_forgotten):
        self.forgets, self.names = names_are_forgotten, 0
        self.nodes = some_nodes(4, PARTITIONS, join=lambda node, told: SaidGroup(told))
        self.stopped = set()
        self.value = 0
        self.waiting = []  # (node, number, log, mark, value) that nobody was told of yet
        self.told = {number: {} for number in range(PARTITIONS)}  # values, by their offsets
        self.readers = [Claims() for _ in range(PARTITIONS)]
        for node in self.nodes:
            self.name_anew(node)
        for number in range(PARTITIONS):
            self.look_at(number)
        pass_time(self.nodes, 0.5)

    def name_anew(self, node):
        identities = node.client.identities
        named = identities.named

        def anew(name, then, *again):
            named(name if again else f"{name} {self.names}", then, *again)

        identities.named = anew

    def look_at(self, number):
        """Whatever the broker takes, a reader that has read all the rest is there for it."""
        log = self.nodes[0].broker(number)
        append = log.append

        def looked_at(batch):
            mark = append(batch)
            stands = standing(self.nodes[0], number)[-1]
            admitted = self.readers[number].admits(stands)
            assert admitted or word_of(stands) is not None, "a record that was fenced off stands"
            return mark

        log.append = looked_at

    def running(self):
        return [it for number, it in enumerate(self.nodes) if number not in self.stopped]

    def pass_time(self, seconds):
        pass_time(self.running(), seconds)
        self.hear()

    def hear(self):
        left = []
        for it in self.waiting:
            _, number, log, mark, value = it
            if log.done > mark:
                self.told[number][log.offset_of(mark)] = value
            else:
                left.append(it)
        self.waiting = left

    # What the group says

    @rule(which=NODES, numbers=st.sets(NUMBERS))
    def say(self, which, numbers):
        if which not in self.stopped:
            self.nodes[which].group.say(*numbers)

    @rule(number=NUMBERS, which=NODES)
    def move(self, number, which):
        for at, node in enumerate(self.nodes[1:], 1):
            assigned = node.group.assigned - {number} | ({number} if at == which else set())
            if at not in self.stopped:
                node.group.say(*assigned)
        self.pass_time(1)

    @rule()
    def confirm(self):
        for node in self.running():
            node.group.confirm()

    # What nodes do

    @rule(number=NUMBERS, count=st.integers(1, 4))
    def append(self, number, count):
        """All who take themselves for the owner, and run."""
        for node in self.running():
            for _ in range(count if number in node.owned() else 0):
                taking = node.owns.served(number)
                value = b"%d" % self.value
                self.value += 1
                mark = node.append(number, value) - 1
                self.waiting.append((node, number, taking.log, mark, value))

    @rule(number=NUMBERS, share=st.floats(0, 1))
    def trim(self, number, share):
        for node in self.running():
            taking = node.owns.served(number)
            if taking is not None:
                before = int(taking.log.start + (taking.log.end - taking.log.start) * share)
                node.owns.trim(number, before, lambda _: None)
        self.pass_time(0.2)

    @rule(seconds=st.sampled_from([0.05, 0.5, 2]))
    def time(self, seconds):
        self.pass_time(seconds)

    # What happens to them

    @rule(which=NODES)
    def stop_or_go_on(self, which):
        self.stopped ^= {which}

    @rule(which=NODES)
    def cut(self, which):
        self.nodes[which].client.cut()

    @rule(which=NODES)
    def deaf(self, which):
        if which in self.stopped:
            return
        client = self.nodes[which].client
        client.deaf = True
        client.run()
        client.cut()
        client.deaf = False

    @rule(which=NODES)
    def away(self, which):
        client = self.nodes[which].client
        client.up = not client.up
        if not client.up:
            client.cut()

    @rule()
    def restart_or_forget(self):
        if self.forgets:
            self.names += 1
        else:
            restart_broker(self.nodes[0])

    def teardown(self):
        if not hasattr(self, "nodes"):
            return
        self.stopped.clear()
        for at, node in enumerate(self.nodes):
            node.client.up = True
            if at:
                node.group.say(*(it for it in range(PARTITIONS) if 1 + it % 3 == at))
        for number in range(PARTITIONS):
            owner = self.nodes[1 + number % 3]
            self.until_owned(number, owner)
            self.check(number, owner)

    def until_owned(self, number, owner):
        """Each partition that is assigned is owned at last."""
        for _ in range(40):
            if number in owner.owned():
                return
            self.pass_time(0.5)
            self.confirm()
        raise AssertionError(f"{number} is not owned: {owner.owns.failure_of(number)}")

    def check(self, number, owner):
        log = owner.broker(number)
        stands = {
            record.offset: record.value for it in standing(owner, number) if word_of(it) is None
            for record in decode(it)
        }  # fmt: skip
        for offset, value in self.told[number].items():
            assert offset < log.start or stands[offset] == value
        owner.group.say()
        self.pass_time(0.3)
        owner.group.say(number)
        self.until_owned(number, owner)
        self.pass_time(0.6)
        assert owner.found[number] == values(owner, number)
        assert {it.owns.owner_of(number).word.node for it in self.nodes} == {owner.name}


TestOwnership = OwnershipModel.TestCase
TestOwnership.settings = settings(max_examples=6, stateful_step_count=15)
