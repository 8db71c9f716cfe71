"""Histories of a server that does one thing after another, drawn at random: nothing is wrong with
them. And what may be wrong with a history, done to one of them.
"""

from collections import defaultdict
from dataclasses import replace
from itertools import count

from tests.histories.history import Commit, History, Operation, Outcome, Poll, Send

INPUTS = [("in", 0), ("in", 1)]
OUTPUTS = [("out", 0), ("out", 1), ("out", 2)]
GROUP = "g"
POLLED_MOST = 4


class Serial:
    """Logs as lists: at each offset a value and whether its operation took place, or a marker."""

    def __init__(self, choose):
        self.choose = choose
        self.logs = defaultdict(list)  # (value or None, whether)
        self.groups = defaultdict(int)
        self.at = defaultdict(int)  # where assigned clients are: (client, place)
        self.operations = []
        self.clock = count(1)
        self.values = count()

    def history(self, length):
        for place in INPUTS + OUTPUTS:  # something is in each
            self.transaction([place], Outcome.OK)
        for _ in range(length):
            self.choose.choice([self.plain, self.transaction, self.read, self.work])()
        for place in INPUTS + OUTPUTS:
            self.read("the last", place, most=len(self.logs[place]), committed=True)
        last = {it: tuple(self.shown(it, 0, len(self.logs[it]))) for it in INPUTS + OUTPUTS}
        groups = {(GROUP, it): self.groups[it] for it in INPUTS}
        return History(tuple(self.operations), last, groups)

    def shown(self, place, at, most, committed=True):
        log = self.logs[place]
        found = [
            (offset, value) for offset, (value, whether) in enumerate(log[at:], at)
            if value is not None and (whether or not committed)
        ]  # fmt: skip
        return found[:most]

    def append(self, place, whether, told):
        value = next(self.values)
        self.logs[place].append((value, whether))
        return Send(place, value, len(self.logs[place]) - 1 if told else None)

    def add(self, client, steps, outcome, transactional=True, **more):
        begun, asked, ended = next(self.clock), next(self.clock), next(self.clock)
        self.operations.append(
            Operation(
                client,
                tuple(steps),
                outcome,
                begun,
                ended,
                asked if transactional else None,
                **more,
            )
        )

    def plain(self):
        send = self.append(self.choose.choice(INPUTS), True, told=self.choose.random() < 0.8)
        self.add("plain", [send], Outcome.OK, transactional=False)

    def transaction(self, places=None, outcome=None, polls=(), commits=()):
        outcome = outcome or self.choose.choice(list(Outcome))
        either = self.choose.random() < 0.5
        whether = either if outcome is Outcome.INFO else outcome is Outcome.OK
        places = places or self.choose.choices(OUTPUTS, k=self.choose.randrange(1, 5))
        told = outcome is not Outcome.INFO
        sends = [self.append(place, whether, told) for place in places]
        for place in set(places):
            self.logs[place].append((None, False))  # the marker
        if whether:
            for it in commits:
                self.groups[it.place] = it.offset
        self.add("producer", [*polls, *sends, *commits], outcome)

    def work(self):
        """Consume, transform, produce."""
        place = self.choose.choice(INPUTS)
        found = self.shown(place, self.groups[place], self.choose.randrange(1, POLLED_MOST))
        if found:
            commit = Commit(GROUP, place, found[-1][0] + 1)
            self.transaction(polls=[Poll(place, tuple(found))], commits=[commit])

    def read(self, client=None, place=None, most=POLLED_MOST, committed=None):
        client = client or self.choose.choice(["one", "other"])
        place = place or self.choose.choice(INPUTS + OUTPUTS)
        committed = client == "one" if committed is None else committed
        found = self.shown(place, self.at[client, place], most, committed)
        if found:
            self.at[client, place] = found[-1][0] + 1
            self.add(
                client, [Poll(place, tuple(found))], Outcome.OK, transactional=False,
                committed=committed, assigned=True,
            )  # fmt: skip


# -- what may be wrong: each gives a history, or None where there is nothing to do it to -----------


def _operations(history, change):
    return replace(history, operations=tuple(change(it) for it in history.operations))


def _without(history, values):
    """Nobody reads these any more."""

    def kept(read):
        return tuple(it for it in read if it[1] not in values)

    def change(operation):
        steps = tuple(
            Poll(it.place, kept(it.read)) if isinstance(it, Poll) else it for it in operation.steps
        )
        return replace(operation, steps=steps)

    last = {place: kept(read) for place, read in history.last.items()}
    return replace(_operations(history, change), last=last)


def _one(choose, of, fits):
    found = [it for it in of if fits(it)]
    return choose.choice(found) if found else None


def _there(history, operation):
    seen = {value for read in history.last.values() for _, value in read}
    return operation.outcome is not Outcome.FAIL and any(
        it.value in seen for it in operation.sends()
    )


def lose(history, choose):
    """An acknowledged operation is nowhere."""
    it = _one(choose, history.operations, lambda it: it.outcome is Outcome.OK and it.sends())
    return it and _without(history, {send.value for send in it.sends()})


def lose_at_last(history, choose):
    """What was read is not there any more."""
    place = _one(choose, history.last, lambda it: history.last[it])
    return place and replace(history, last=history.last | {place: history.last[place][:-1]})


def tear(history, choose):
    it = _one(
        choose, history.operations,
        lambda it: it.asked and len(it.sends()) > 1 and _there(history, it),
    )  # fmt: skip
    return it and _without(history, {choose.choice(it.sends()).value})


def abort(history, choose):
    """What is there is said to be aborted."""
    it = _one(choose, history.operations, lambda it: it.asked and _there(history, it))
    return it and _operations(
        history, lambda other: replace(it, outcome=Outcome.FAIL) if other is it else other
    )


def hurry(history, choose):
    """Its commit is asked for after it was read."""
    it = _one(choose, history.operations, lambda it: it.asked and _there(history, it))
    late = history.operations[-1].ended + 1
    return it and _operations(
        history, lambda other: replace(it, asked=late) if other is it else other
    )


def _change_a_poll(history, choose, fits, change):
    it = _one(
        choose, history.operations,
        lambda it: it.assigned and it.committed and fits(it.polls()[0].read),
    )  # fmt: skip
    if it is None:
        return None
    (poll,) = it.polls()
    changed = replace(it, steps=(Poll(poll.place, change(poll.read)),))
    return _operations(history, lambda other: changed if other is it else other)


def turn_round(history, choose):
    return _change_a_poll(history, choose, lambda read: len(read) > 1, lambda read: read[::-1])


def leave_out(history, choose):
    """One reader lacks what the others have."""
    return _change_a_poll(
        history, choose, lambda read: len(read) > 2, lambda read: read[:1] + read[2:]
    )


def double(history, choose):
    """A value is at the next offset as well."""

    def change(read):
        (offset, value), *more = read
        return (offset, value), (offset + 1, value), *more

    return _change_a_poll(history, choose, lambda read: True, change)


def confuse(history, choose):
    """A value that nobody has sent is in the place of another."""
    return _change_a_poll(
        history, choose, lambda read: True, lambda read: ((read[0][0], "strange"), *read[1:])
    )


def put_back(history, choose):
    """A group stands before what it has worked on."""
    where = _one(choose, history.groups, lambda it: history.groups[it] > 0)
    return where and replace(history, groups=history.groups | {where: 0})


def put_on(history, choose):
    where = choose.choice(list(history.groups))
    ahead = history.groups[where] + 1
    return replace(history, groups=history.groups | {where: ahead})


def work_again(history, choose):
    it = _one(choose, history.operations, lambda it: it.commits() and _there(history, it))
    if it is None:
        return None
    again = replace(it, steps=tuple(step for step in it.steps if not isinstance(step, Send)))
    again = replace(again, outcome=Outcome.OK)
    return replace(history, operations=(*history.operations, again))


def read_each_other(history, choose):
    certain = [it for it in history.operations if it.outcome is Outcome.OK and it.asked]
    one, other = choose.sample(certain, 2)

    def reading(it, of):
        send = choose.choice(of.sends())
        return replace(it, steps=(*it.steps, Poll(send.place, ((send.offset, send.value),))))

    changed = {id(one): reading(one, other), id(other): reading(other, one)}
    return _operations(history, lambda it: changed.get(id(it), it))


# What it is, and what of it has to be found.
FAULTS = {
    lose: {"lost-write", "unseen"},
    lose_at_last: {"unseen"},
    tear: {"torn"},
    abort: {"G1a"},
    hurry: {"precommitted-read"},
    turn_round: {"nonmonotonic-poll"},
    leave_out: {"poll-skip"},
    double: {"duplicate"},
    confuse: {"unwritten"},
    put_back: {"torn"},
    put_on: {"torn"},
    work_again: {"repeated"},
    read_each_other: {"wr-cycle"},
}
