"""Queues on a lossy disk, and what was promised of their messages at each moment.

Nothing runs by itself: what workers, the committer and the flusher have to do waits until a step of
the test has it done, in an order that a seed chooses. So each history is the same every time, and
seeds give others: a commit before a sync, or a lane that is still being opened when its messages
are settled.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field, replace

from clock import NOW_MS
from lossy_store import CONFIG
from queue_parts import Channel, props
from turns_by_hand import Turns

from logstore.broker.deduplication.deduplication import Deduplication
from logstore.broker.ledger import Ledger
from logstore.broker.queues import past
from logstore.broker.queues.journal import SettlementNotes
from logstore.broker.queues.lane_notes import LaneNotes
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.queues.message import Message
from logstore.broker.queues.queues import Queues
from logstore.broker.queues.station_home import Surroundings
from logstore.broker.queues.tables import arguments_of
from logstore.broker.queues.transaction import Transaction
from logstore.broker.queues.trimming import EVERY_MS
from logstore.errors import LogstoreError, UnknownPartition
from logstore.open_queues import OpenQueues
from logstore.storage.committer import Committer, QueueCommitter
from logstore.storage.kinds import JOURNAL, KINDS, LANE, TOPIC
from logstore.storage.writer import WriterDirectory
from logstore.upkeep.child import Here
from logstore.upkeep.job import Job
from logstore.upkeep.jobs import Jobs

SEGMENT_BYTES = "400"
STEPS_MOST = 20_000
GENERATION = "x-generation"  # an unknown argument: distinguishes queues of one name


def kinds(*, lax=False):
    """Settings with small segments and frequent recovery points, so that all events of large logs
    occur.
    """
    lanes = {"segment.bytes": SEGMENT_BYTES, "index.interval.bytes": "60", "retention.ms": "0"}
    if lax:
        lanes["flush.messages"] = "1000"
    small = {"segment.bytes": SEGMENT_BYTES, "flush.messages": "1"}
    return {
        **KINDS,
        LANE.name: replace(
            LANE, notes=lambda: LaneNotes(Deduplication()), settings=lambda store: lanes
        ),
        JOURNAL.name: replace(
            JOURNAL, notes=SettlementNotes, recovery_bytes=300, settings=lambda store: small
        ),
        TOPIC.name: replace(TOPIC, notes=lambda: Ledger(lambda: NOW_MS, 1000), recovery_bytes=300),
    }


class HandCommitter(Committer):
    """One without a thread: ``write_next`` is what it would do next."""

    def __init__(self, environment, deliver, soon):
        self._environment, self._deliver, self._soon = environment, deliver, soon
        self._turn, self._queue = [], []
        self._closed = self._failing = False

    def _end_turn(self):
        self._queue += self._turn
        self._turn = []

    @property
    def has_more(self):
        return bool(self._queue)

    def write_next(self):
        batch, self._queue = self._queue, []
        self._deliver(self._write(batch))

    def close(self):
        self._end_turn()
        if self._queue:
            self.write_next()
        self._closed = True


@dataclass(frozen=True)
class Place:
    """Where a message is: in one of ``must`` at least, and nowhere but in ``may``."""

    must: frozenset = frozenset()  # queues: name and generation
    may: frozenset = frozenset()


GONE = Place()


@dataclass
class Known:
    """What somebody who used the queues knows of them."""

    there: dict = field(default_factory=dict)  # name -> generation: its declaration is confirmed
    may: dict = field(default_factory=dict)  # name -> generations that may be there
    places: dict = field(default_factory=dict)  # number of a message -> Place
    priorities: dict = field(default_factory=dict)  # number -> priority
    # Numbers, each with its queue: settled, and told, in a queue that retains what is; purged.
    settled: set = field(default_factory=set)
    purged: set = field(default_factory=set)
    now_ms: int = NOW_MS
    # What held transactions may have brought: number -> queues. Once, and never in two of them,
    # unless lanes are synced late: then the journal may bring again what was there.
    brought: dict = field(default_factory=dict)
    commits: dict = field(default_factory=dict)  # those that are not confirmed: see Commit
    delivered: frozenset = frozenset()  # and the journal says that the queues were in use

    def copy(self):
        new = copy(self)
        new.there, new.places = dict(self.there), dict(self.places)
        new.may = {name: set(those) for name, those in self.may.items()}
        new.priorities = dict(self.priorities)
        new.settled, new.purged = set(self.settled), set(self.purged)
        new.brought, new.commits = dict(self.brought), dict(self.commits)
        return new


@dataclass(frozen=True)
class Commit:
    """All of it has happened, or nothing: numbers of messages, each with its queue."""

    brought: frozenset
    settled: frozenset


@dataclass(frozen=True)
class Moment:
    disk: object  # Frozen
    known: Known
    crashes: int


@dataclass
class Begun:
    """Something that was asked for, and is to be confirmed."""

    is_done: Callable[[], bool]
    finish: Callable[[], None]


class Machine:
    """Queues in use; takes a picture of every moment."""

    def __init__(self, disk, choose, *, lax=False, known=None, crashes=0):
        self.disk = disk.mount()
        self.choose, self.lax, self.crashes = choose, lax, crashes
        self.moments = []
        self.known = Known() if known is None else known.copy()
        self.states = {}  # number of a message -> work in progress on it
        self.retained = set()  # queues that keep settled messages
        self.live = {}  # name -> generation: as the process sees it
        self.numbers = max(self.known.places, default=-1) + 1
        generations = [it for those in self.known.may.values() for it in those]
        self.generations = 1 + max(generations, default=0)
        self.now_ms = self.known.now_ms
        self.errors = None  # a list: steps may fail
        self.queues = None
        disk.changed = self.picture
        self.open()

    def picture(self):
        self.moments.append(Moment(self.disk.freeze(), self.known.copy(), self.crashes))

    # The process

    def open(self):
        self.turns, self.calls, self.works, self.due = Turns(), [], [], {}
        self.begun, self.out, self.channel = [], {}, Channel()
        self.queues = None
        path = f"{self.disk.base}/new/data"
        self.directory = WriterDirectory(
            path, CONFIG, self.disk, clock=self.clock, kinds=kinds(lax=self.lax)
        )
        self.directory._flusher.soon = lambda log, within_ms=0: self.due.update({log: None})
        environment = self.directory._catalog.environment
        self.committer = HandCommitter(environment, self.calls.append, self.turns.soon)
        logs = OpenQueues(self.directory, QueueCommitter(self.committer, environment))
        around = self.surroundings()
        self.queues = Queues(logs, self.clock, self.turns.soon, self.work, surroundings=around)
        self.vhost = self.queues.vhosts[b"/"]
        self.live = {
            it.facts.name: _generation(it)
            for it in self.vhost.queues() if it.facts.arguments.get(GENERATION.encode())
        }  # fmt: skip

    def surroundings(self):
        """Empty surroundings of the queues."""
        return Surroundings()

    def clock(self):
        return self.now_ms

    def work(self, first, second):
        self.works.append((first, second))

    def crash(self):
        """End the process; no more pictures are taken."""
        self.disk.changed = lambda: None
        directory = self.directory
        directory._flusher.close()
        directory._files.close()
        directory._marks.close()
        directory._catalog.close()

    def close(self):
        """Stop as a server does."""
        self.channel.end()
        self.out = {}
        self.run()
        self.queues.close()
        self.committer.close()
        self.directory.close()
        self.picture()

    def again(self):
        self.close()
        self.open()

    # What goes on in it, one thing at a time

    def step(self):
        """Do one of the possible actions; returns whether there was any."""
        can = []
        if self.turns.left or self.calls:
            can.append(self.end_turn)
        if self.works:
            can.append(self.work_next)
        if self.committer.has_more:
            can.append(self.committer.write_next)
        if self.due:
            can.append(self._sync)
        if not can:
            return False
        self.choose.choice(can)()
        self._look()
        return True

    def end_turn(self):
        calls, self.calls[:] = list(self.calls), []
        for call in calls:
            call()
        self.turns.over()

    def work_next(self):
        first, second = self.works.pop(self.choose.randrange(len(self.works)))
        found = first()
        self.calls.append(lambda: second(found))

    def _sync(self):
        """Sync as the flusher's thread, with the logs in any order."""
        flusher = self.directory._flusher
        logs = list(self.due)
        self.due.clear()
        dirty = list(flusher._dirty)
        self.choose.shuffle(dirty)
        flusher._dirty = dict.fromkeys(dirty)
        for log, upto in [(log, log.end) for log in logs]:
            try:
                flusher.wait(log, upto)
            except UnknownPartition:  # its queue was deleted meanwhile
                pass
            except LogstoreError as error:
                self._failed(error)

    def _failed(self, error):
        if self.errors is None:
            raise error
        self.errors.append(error)

    def _look(self):
        for it in list(self.begun):
            if it in self.begun and it.is_done():
                self.begun.remove(it)
                it.finish()

    def run(self, until=None):
        """Take steps until none is left."""
        for _ in range(STEPS_MOST):
            if not self.step():
                self._look()
                if not self.step():
                    break
            if until is not None and until():
                return
        else:
            raise AssertionError("there is no end of it")
        if self.errors is None and not self.lax:
            assert not self.begun, "something is never confirmed"

    def some(self, most=6):
        """Take some steps."""
        for _ in range(self.choose.randrange(most + 1)):
            self.step()

    def later(self, ms):
        """Let time pass."""
        self.now_ms += ms
        self.known.now_ms = self.now_ms
        self.queues.tick(self.now_ms)

    def idle(self):
        """Let enough time pass for all upkeep."""
        for _ in range(4):
            self.run()
            self.later(EVERY_MS)
        self.run()

    def upkeep(self):
        """Run upkeep as a writing process does."""
        jobs = Jobs(self.directory, self.clock, lambda groups: {}, lambda: Here(self.disk))
        for name in ("retention", "compact"):
            for outcome in jobs.run(Job(name), bytes_per_second=-1):
                if outcome.broke is not None:
                    self._failed(outcome.broke.error())
        self._look()

    def segments(self, name):
        """The base offsets of the segments of each lane of a queue."""
        lanes = self.vhost.queue(name, None).stock.order
        return [lane.log.bases() for lane in lanes if lane.log is not None]

    def sync_lanes(self):
        """Sync all lanes, whatever the policy."""
        for queue in self.vhost.queues():
            for lane in queue.stock.order:
                if lane.log is not None:
                    lane.log.sync()
        self._look()

    # What is told

    def _is_told(self):
        """Whether all settlements so far are in the journal and safe."""
        journal = self.queues._journaling.log
        return (
            not self.turns.left
            and not self.calls
            and journal.safe == journal.end
            and not any(it.stock.settled or it.dead_letters for it in self.vhost.queues())
            and not any(lane.done for it in self.vhost.queues() for lane in it.stock.order)
            and not self.queues._journaling.failing
        )

    def _begin(self, is_done, finish):
        self.begun.append(Begun(is_done, finish))
        self._look()

    def _change(self, number, must, may, state):
        self.known.places[number] = Place(frozenset(must), frozenset(may))
        self.states[number] = state

    def queue_of(self, name):
        generation = self.live.get(name)
        return None if generation is None else (name, generation)

    def _do(self, work):
        """The result of ``work``; None if it is refused."""
        try:
            return work()
        except LogstoreError as error:
            self._failed(error)
            return None

    # Steps

    def declare(self, name, **arguments):
        if name in self.live:
            return
        generation, self.generations = self.generations, self.generations + 1
        given = {f"x-{it.replace('_', '-')}": value for it, value in arguments.items()}
        given[GENERATION] = generation
        if arguments.get("retention_ms"):
            self.retained.add((name, generation))
        self.known.may.setdefault(name, set()).add(generation)
        facts = QueueFacts(name, True, False, False, arguments_of(given))
        _, pending = self.vhost.declare_queue(facts, None)
        self.live[name] = generation

        def declared():
            if pending.error is not None:
                self._failed(pending.error)
                if self.live.get(name) == generation:
                    del self.live[name]
            elif self.live.get(name) == generation:
                self.known.there[name] = generation

        self._begin(lambda: pending.done, declared)

    def publish(self, name, count=1, priority=0, size=10):
        """Publish one run of messages."""
        queue = self.queue_of(name)
        if queue is None:
            return
        numbers = list(range(self.numbers, self.numbers + count))
        self.numbers += count
        run = []
        for number in numbers:
            self.known.priorities[number] = priority
            self._change(number, (), {queue}, "sent")
            body = b"%d|" % number + bytes(size)
            message = Message(b"", name, props(priority=priority, delivery_mode=2), body)
            run.append((self.vhost.route(message), message))
        published = self.vhost.publish(run)
        stock = self.vhost.queue(name, None).stock
        waiting = published.waiting
        waiting.watch(lambda: self.calls.append(self._look))

        def is_done():
            if not waiting.settled():
                return False
            logs = [lane.log for lane in stock.order if lane.log is not None]
            return not self.lax or all(log.synced == log.end for log in logs)

        def confirmed():
            if waiting.failed is not None or published.rejected:
                self._failed(waiting.failed or published.error)
                return
            for number in numbers:
                if self.states[number] == "sent" and self.live.get(name) == queue[1]:
                    self._change(number, {queue}, {queue}, "there")

        self._begin(is_done, confirmed)

    def get(self, name, count=1):
        queue = self.queue_of(name)
        if queue is None:
            return

        def got(found):
            if found is not None:
                number = int(found.delivery.body.split(b"|")[0])
                self.out[found.tag] = number, queue
                had.append(number)

        def delivered():
            self.known.delivered |= set(had)

        had = []
        for _ in range(count):
            self._do(lambda: self.vhost.queue(name, None).get(self.channel, False, got))
        self._begin(self._is_told, delivered)

    def _picked(self, name, count):
        """Tags of some unsettled messages, and the number and queue of each."""
        tags = [
            tag for tag, (number, queue) in self.out.items()
            if queue == self.queue_of(name) and self.states[number] not in ("moving", "twice")
        ]  # fmt: skip
        picked = sorted(self.choose.sample(tags, min(count, len(tags))))
        return [(tag, *self.out.pop(tag)) for tag in picked]

    def ack(self, name, count=1):
        picked = self._picked(name, count)
        for tag, number, queue in picked:
            may = self.known.places[number].may
            self._change(number, self.known.places[number].must - {queue}, may, "leaving")
            self.channel.ack(tag)
        self._begin(self._is_told, lambda: self._acked(picked))

    def _acked(self, picked):
        self._settled(picked)
        self.known.settled |= {
            (number, queue) for _, number, queue in picked if queue in self.retained
        }

    def _settled(self, picked):
        for _, number, queue in picked:
            if self.queue_of(queue[0]) == queue:  # otherwise the end of its deletion decides
                self._leave(number, queue)

    def _leave(self, number, queue):
        left = self.known.places[number]
        self._change(number, left.must, left.may - {queue}, "gone")

    def requeue(self, name, count=1):
        for tag, _, _ in self._picked(name, count):
            self.channel.requeue(tag)

    def reject(self, name, to=None, count=1):
        """``to``: the queue for dead letters."""
        target = self.queue_of(to)
        picked = self._picked(name, count)
        if target is None:
            for it in picked:
                self.out[it[0]] = it[1:]
            return
        for tag, number, queue in picked:
            both = {queue, target}
            confirmed = bool(self.known.places[number].must)
            self._change(number, both if confirmed else (), both, "moving")
            self._brings(number, target)
            self.channel.reject(tag)

        def arrived():
            for _, number, _ in picked:
                if self.states[number] == "moving":
                    self._change(number, {target}, {target}, "there")

        self._begin(self._is_told, arrived)

    def _brings(self, number, queue):
        self.known.brought[number] = self.known.brought.get(number, frozenset()) | {queue}

    def commit(self, publish=(), ack=()):
        """Commit a transaction. ``publish``: names, each with a count; ``ack``: the same."""
        held, brought, settled = Transaction(), [], []
        run = []
        for name, count in publish:
            if (queue := self.queue_of(name)) is None:
                continue
            for number in range(self.numbers, self.numbers + count):
                self.known.priorities[number] = 0
                self._change(number, (), {queue}, "sent")
                self._brings(number, queue)
                brought.append((number, queue))
                message = Message(b"", name, props(delivery_mode=2), b"%d|" % number + bytes(10))
                run.append((self.vhost.route(message), message))
            self.numbers += count
        published = self.vhost.publish(run, held)
        if published.error is not None:
            held.forget()
            self._failed(published.error)
            return
        groups = []
        for name, count in ack:
            for tag, number, queue in self._picked(name, count):
                place = self.known.places[number]
                if queue in place.must:  # otherwise it may be missing in any case
                    settled.append((number, queue))
                self._change(number, place.must - {queue}, place.may, "leaving")
                group = self.channel.unacked.ack(tag)
                held.settle(group.queue, group.lane, group.first, group.bits)
                groups.append((tag, number, queue))
        key = self.numbers, len(self.known.commits)
        self.known.commits[key] = Commit(frozenset(brought), frozenset(settled))
        answers = []

        def confirmed():
            self.known.commits.pop(key, None)
            if answers[0] is not None:
                self._failed(answers[0])
                return
            for number, queue in brought:
                if self.states[number] == "sent" and self.live.get(queue[0]) == queue[1]:
                    self._change(number, {queue}, {queue}, "there")
            self._settled(groups)

        self.vhost.commit(held, answers.append)
        self._begin(lambda: answers, confirmed)

    def _no_commit_of(self, queue):
        """Forget what commits do to a deleted queue, which cannot be seen."""
        for key, it in list(self.known.commits.items()):
            self.known.commits[key] = Commit(
                frozenset(one for one in it.brought if one[1] != queue),
                frozenset(one for one in it.settled if one[1] != queue),
            )

    def purge(self, name):
        queue = self.queue_of(name)
        if queue is None:
            return

        def purged(total):
            if self.live.get(name) != queue[1]:
                return
            out = {number for number, _ in self.out.values()}
            gone = [
                number for number, place in self.known.places.items()
                if queue in place.may and number not in out
                and self.states.get(number) in ("sent", "there")
            ]  # fmt: skip
            for number in gone:
                place = self.known.places[number]
                self._change(number, place.must - {queue}, place.may, "leaving")
            picked = [(0, number, queue) for number in gone]
            self._begin(self._is_told, lambda: self._purged(picked))

        self.vhost.queue(name, None).purge(purged)

    def _purged(self, picked):
        self._settled(picked)
        self.known.purged |= {(number, queue) for _, number, queue in picked}

    def delete(self, name):
        queue = self.queue_of(name)
        if queue is None:
            return
        self.known.there.pop(name, None)
        del self.live[name]
        self._no_commit_of(queue)
        those = [n for n, place in self.known.places.items() if queue in place.may]
        for number in those:
            place, moves = self.known.places[number], self.states[number] == "moving"
            must = () if moves else place.must - {queue}  # it was on its way to the other
            self._change(number, must, place.may, "leaving")
        for tag in [tag for tag, (_, its) in self.out.items() if its == queue]:
            del self.out[tag]
        found = self._do(lambda: self.vhost.delete_queue(self.vhost.queue(name, None)))
        pending = None if found is None else found[1]

        def deleted():
            if pending.error is not None:
                self._failed(pending.error)
                return
            self.known.may[name].discard(queue[1])
            for number in those:
                self._leave(number, queue)

        if pending is not None:
            self._begin(lambda: pending.done, deleted)

    # What there is

    def contents(self):
        """The generation of each queue and its ready messages: numbers, and whether redelivered.

        The messages are ready again afterwards.
        """
        self.run()
        found = {}
        for queue in list(self.vhost.queues()):
            channel = Channel()
            had = [
                (int(it.body.split(b"|")[0]), it.redelivered) for it in self.fetched(queue, channel)
            ]
            for it in channel.unacked.drain():
                it.queue.release(it, failed=False)
            found[queue.facts.name] = _generation(queue), had
        self.run()
        return found

    def fetched(self, queue, channel, *, no_ack=False):
        """All ready messages, one delivery after another."""
        while True:
            answers = []
            queue.get(channel, no_ack, answers.append)
            self.run(until=lambda: answers)  # noqa: B023  called here
            assert answers, f"{queue}: nobody answers"
            if answers[0] is None:
                return
            yield answers[0].delivery

    def taken(self, name):
        """The numbers of all ready messages, which are thereby settled."""
        queue = self.vhost.queue(name)
        return [int(it.body) for it in self.fetched(queue, self.channel, no_ack=True)]

    def past(self, name):
        """All messages of a queue on disk: numbers, each with its state."""
        queue, found = self.vhost.queue(name, None), []
        track = past.begin(past.cuts(queue), None, None)
        while track:
            page = past.read(past.spans(queue, track), track, past.Wanted(), 1 << 30, 1 << 30)
            found += [(int(it.record.value.split(b"|")[0]), it.state) for it in page.found]
        return found

    def adopt(self, contents):
        """Take the present contents as the expected ones."""
        before, self.known = self.known, Known()
        self.known.settled, self.known.purged = before.settled, before.purged
        self.known.now_ms = before.now_ms
        self.known.priorities, self.known.brought = before.priorities, before.brought
        self.states = dict.fromkeys(before.places, "gone")
        where = {}
        for name, (generation, had) in contents.items():
            self.known.there[name], self.known.may[name] = generation, {generation}
            for number, _ in had:
                where.setdefault(number, []).append((name, generation))
        for number, queues in where.items():
            self._change(number, queues, queues, "there" if len(queues) == 1 else "twice")


def _generation(queue):
    return queue.facts.arguments.get(GENERATION.encode()).value


def check(machine, moment):
    """Check the law; returns the contents."""
    known, late = moment.known, machine.lax
    contents = machine.contents()
    for name, generation in known.there.items():
        assert name in contents, f"{name} was declared, and is missing"
        assert contents[name][0] == generation, f"{name}: a queue of another time"
    found = {}
    for name, (generation, had) in contents.items():
        assert generation in known.may.get(name, ()), f"{name}.{generation}: nobody declared it"
        queue = name, generation
        numbers = [number for number, _ in had]
        for number, again in had:
            may = known.places.get(number, GONE).may
            if late:
                may |= known.brought.get(number, frozenset())
            assert queue in may, f"{number} is in {queue}, may be in {set(may)}"
            if moment.crashes < machine.crashes and number not in known.brought:
                assert again or number not in known.delivered, f"{number} comes as if new"
            found.setdefault(number, []).append(queue)
        check_order(numbers, known)
        check_past(machine.past(name), queue, numbers, known, late=late)
    for number, place in known.places.items():
        assert not place.must or {*found.get(number, ())} & place.must, f"{number} is lost"
    for number, queues in found.items():
        assert len(queues) == 1 or (late and number in known.brought), f"{number} is in {queues}"
    if not late:
        for commit in known.commits.values():
            check_commit(commit, found)
    return contents


def check_past(had, queue, ready, known, *, late):
    """Check that settled messages remain and purged ones do not; none is taken."""
    states = {number: [it for other, it in had if other == number] for number, _ in had}
    for number, its in known.purged:
        assert its != queue or number not in states, f"{number} was purged, and is shown"
    for number, its in known.settled:
        if its == queue and not late:
            assert states.get(number) == [past.SETTLED], f"{number} was settled: {states}"
    assert sorted(ready) == sorted(number for number, it in had if it == past.READY)


def check_commit(commit, found):
    """Check that the commit is whole or absent."""
    done = {(number, queue in found.get(number, ())) for number, queue in commit.brought}
    left = {(number, queue not in found.get(number, ())) for number, queue in commit.settled}
    assert len({happened for _, happened in done | left}) <= 1, f"half of it: {commit}"


def check_order(numbers, known):
    """Check the order: by priority, then as published; transactions may bring messages later."""
    stayed = [it for it in numbers if it not in known.brought]
    assert stayed == sorted(stayed, key=lambda it: (-known.priorities[it], it))
