"""Random histories of a queue, its clients on two nodes, and the link between these.

What is settled arrives or does not: a link that is cut brings what was out again. Each message is
given out, nobody has more than he asked for, and in the end all that was published is settled once.
"""

from hypothesis import given
from hypothesis import strategies as st
from queue_parts import Consumer
from relay_kit import FarChannel, FarClient, Joined

CLIENTS = 3

SOME = st.integers(0, 3)
BYTES = st.sampled_from([0, 40, 100, 300, 1 << 20])
WHO = st.integers(0, CLIENTS - 1)
ACTS = {
    "publish": st.tuples(st.integers(1, 8)),
    "move": st.tuples(BYTES, BYTES),
    "turn": st.tuples(),
    "run": st.tuples(),
    "settle": st.tuples(st.integers(0, CLIENTS), SOME, st.booleans()),
    "back": st.tuples(st.integers(0, CLIENTS), SOME),
    "reads": st.tuples(WHO, st.sampled_from([0, 1, 1 << 30])),
    "ends": st.tuples(WHO),
    "cut": st.tuples(st.booleans()),
}
OFTEN = ["publish", "move", "move", "turn", "turn", "run", "settle", "settle", "settle"]
STEP = st.sampled_from([*OFTEN, *ACTS]).flatmap(lambda it: st.tuples(st.just(it), ACTS[it]))


class History:
    """The last of the clients is one of the owner's own node."""

    def __init__(self, node, clients):
        self.node = node
        self.queue = node.declare(b"q")
        self.joined = Joined(node)
        channel = FarChannel(prefetch=4)  # the first two share it
        self.clients = [
            FarClient(channel if n < 2 else None, prefetch=prefetch, no_ack=no_ack)
            for n, (prefetch, no_ack) in enumerate(clients)
        ]
        self.near = Consumer(prefetch=2)
        self.queue.subscribe(self.near)
        self.published = 0
        self.came = []  # bodies, each as often as it came; and whether that was said to be again
        self.left = {it: [] for it in [*self.clients, self.near]}  # tags that are not settled
        self.cuts = False
        self.connect()

    def connect(self):
        self.joined.connect(run=False)
        for _ in range(2):  # hello and challenge, proof and proof
            self.joined.send()
            self.joined.take()
        assert self.joined.owner.ready
        for it in self.clients:
            self.joined.subscribe(it)

    def act(self, what, given):
        getattr(self, what)(*given)
        self.look()

    def look(self):
        """The laws."""
        for it in [*self.clients, self.near]:
            for tag, delivery in it.forget():
                self.came.append((delivery.body, delivery.redelivered))
                if not it.no_ack:
                    self.left[it].append(tag)
            if it.prefetch and not it.no_ack:
                assert it.channel.unacked.of(it) <= it.prefetch
            assert it.channel.room() >= 0

    def publish(self, count):
        self.node.publish_soon(b"q", *(b"%d" % (self.published + n) for n in range(count)))
        self.published += count

    def move(self, there, back):
        self.joined.send(there)
        self.joined.take(back)

    def run(self):
        self.joined.run()

    def turn(self):
        self.node.run()
        self.joined.turns.over()

    def _one(self, who, which):
        it = [*self.clients, self.near][who]
        left = self.left[it]
        return it, (left.pop(which % len(left)) if left else None)

    def settle(self, who, which, wanted):
        it, tag = self._one(who, which)
        if tag is not None:
            (it.channel.ack if wanted else it.channel.reject)(tag)
            self._woken(it)

    def back(self, who, which):
        it, tag = self._one(who, which)
        if tag is not None:
            it.channel.requeue(tag)
            self.cuts = True
            self._woken(it)

    def _woken(self, it):
        """As doors do, where a channel has room again."""
        for other in self.clients:
            if other.channel is it.channel:
                self.joined.owner.wake(other.far)

    def reads(self, who, takes):
        it = self.clients[who]
        it.takes = takes
        self.joined.owner.wake(it.far)

    def ends(self, who):
        """And begins anew."""
        it = self.clients[who]
        self.cuts = True
        self.joined.owner.unsubscribe(it.far)
        self.joined.subscribe(it)

    def cut(self, noticed):
        self.cuts = True
        self.joined.cut(noticed=noticed)
        assert {it for those, _ in self.joined.lost for it in those} <= {
            it.far for it in self.clients
        }
        self.joined.lost.clear()
        self.connect()

    def end(self):
        self.queue.unsubscribe(self.near)  # all that is left goes over the link
        for it in self.clients:
            it.takes = 1 << 30
            self.joined.owner.wake(it.far)
        while True:
            self.joined.run()
            self.look()
            if not any(self.left.values()):
                break
            for it, tags in self.left.items():
                for tag in tags:
                    it.channel.ack(tag)
                tags.clear()
                if it is not self.near:
                    self._woken(it)
        assert (self.queue.ready, self.queue.out) == (0, 0)
        everything = {b"%d" % n for n in range(self.published)}
        assert {body for body, _ in self.came} == everything
        first = [body for body, again in self.came if not again]
        assert len(first) == len(set(first))
        if not self.cuts:
            assert len(self.came) == self.published
        counts = self.queue.counts
        died = counts.rejected
        assert counts.acked + died == self.published
        assert not self.joined.session._lending.out
        self.joined.cut()
        assert not self.queue.subscriptions
        assert all(not it.channel.unacked for it in self.left)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=CLIENTS, max_size=CLIENTS),
    st.lists(STEP, min_size=20, max_size=40),
)
def test_every_message_is_given_and_settled_once(long_lived, clients, steps):
    history = History(long_lived, clients)
    try:
        for step in steps:
            history.act(*step)
        history.end()
    finally:
        history.joined.cut()
        long_lived.empty()
