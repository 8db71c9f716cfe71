"""Messages with ids, through an exchange that sends each on once and into a queue that keeps
repeats out, after a power cut at every moment of short histories:

a confirmed message is there, in each queue once; all queues of the exchange have the same; and who
sends everything again, since he was not told, has each of them in each queue once.
"""

import random
from dataclasses import dataclass

import pytest
from lossy_disk import SURVIVORS_MOST, some
from lossy_queues import GENERATION, Machine
from lossy_store import StoreDisk
from queue_parts import props

from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.message import Message
from logstore.broker.queues.tables import arguments_of
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import ExchangeFacts
from logstore.records.decode import decode

SEED = 1407
SURVIVORS = max(4, SURVIVORS_MOST // 400)
IDS = 12
EXCHANGE, QUEUE = b"x", b"once"
BOUND = (b"a", b"b")
FOREVER_MS = 10**9


@dataclass(frozen=True)
class Moment:
    disk: object  # Frozen
    declared: bool
    confirmed: frozenset  # (where it was sent, id)


class OnceMachine(Machine):
    """Queues in use, of which only ids count."""

    confirmed = frozenset()
    declared = False

    def picture(self):
        self.moments.append(Moment(self.disk.freeze(), self.declared, self.confirmed))

    def prepare(self):
        once = {"x-message-deduplication": True, "x-cache-ttl": FOREVER_MS}
        for name, given in ((BOUND[0], {}), (BOUND[1], {}), (QUEUE, once)):
            arguments = arguments_of({**given, GENERATION: 1})
            self.vhost.declare_queue(QueueFacts(name, True, arguments=arguments), None)
        facts = ExchangeFacts(
            EXCHANGE, "x-message-deduplication", True, arguments=arguments_of({"x-cache-size": 100})
        )
        self.vhost.declare_exchange(facts)
        for name in BOUND:
            self.vhost.bind(Binding(EXCHANGE, name))
        self.run()
        self.declared = True

    def send(self, where, ids):
        exchange, key = (EXCHANGE, b"") if where == EXCHANGE else (b"", where)
        run = []
        for it in ids:
            message = Message(exchange, key, props({"x-deduplication-header": it}), b"%d|" % it)
            run.append((self.vhost.route(message), message))
        waiting = self.vhost.publish(run).waiting
        waiting.watch(lambda: self.calls.append(self._look))

        def confirmed():
            assert waiting.failed is None
            self.confirmed |= {(where, it) for it in ids}

        self._begin(waiting.settled, confirmed)

    def ids(self):
        """Of each queue the ids that it has; nothing of it is ever settled."""
        self.run()
        found = {}
        for queue in self.vhost.queues():
            ids = found[queue.facts.name] = []
            for lane in queue.stock.order:
                at = 0
                while at < lane.log.safe:
                    for batch in lane.log.read(at, 10_000):
                        ids += [int(it.value[:-1]) for it in decode(batch)]
                        at = batch.next_offset
        return found


def history(machine, choose):
    machine.prepare()
    for _ in range(14):
        ids = [choose.randrange(IDS) for _ in range(choose.randrange(1, 4))]
        machine.send(choose.choice([EXCHANGE, QUEUE]), ids)
        machine.some()
        if choose.random() < 0.15:
            machine.queues._journaling.log.secure()
            machine.queues._logs.trim_journal()
        if choose.random() < 0.1:
            machine.sync_lanes()
    machine.run()


def check(machine, moment):
    machine.run()
    found = machine.ids()
    for name, ids in found.items():
        assert len(ids) == len(set(ids)), f"{name} has some twice: {ids}"
    if not moment.declared:
        return
    first, second = (set(found[name]) for name in BOUND)
    assert first == second, "one queue of the exchange has what the other has not"
    for where, it in moment.confirmed:
        assert it in found[BOUND[0] if where == EXCHANGE else QUEUE], f"{it} is lost"
    for where in (EXCHANGE, QUEUE):
        machine.send(where, range(IDS))
        machine.send(where, [3])
    machine.run()
    for name, ids in machine.ids().items():
        assert sorted(ids) == [*range(IDS)], f"{name} has {ids}"


def opened(moment, disk, choose):
    machine = OnceMachine(disk, choose, crashes=1)
    machine.declared, machine.confirmed = moment.declared, moment.confirmed
    return machine


@pytest.mark.long
@pytest.mark.parametrize("order", range(3))
def test_each_is_there_once_whatever_a_power_cut_leaves(base, order):
    choose, states = random.Random(f"{SEED} {order}"), 0
    machine = OnceMachine(StoreDisk(base), choose)
    history(machine, choose)
    machine.crash()
    for moment in some(machine.moments, choose, 20):
        for disk in moment.disk.survivors(choose, SURVIVORS):
            again = opened(moment, disk, choose)
            check(again, moment)
            last = Moment(again.disk.freeze(), again.declared, again.confirmed)
            again.crash()
            third = opened(last, last.disk.disk(frozenset()), choose)
            check(third, last)
            third.crash()
            states += 1
    print(f"seed {SEED}: {states} states")
    assert states > 50
