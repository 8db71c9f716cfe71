"""The table of transactional ids against Kafka's own rules, written down as tables; and what the
journal is told of it, replayed, against what it has come to."""

from hypothesis import given, note
from hypothesis import strategies as st
from transaction_parts import Pids, an_id, at

from logstore.broker.transactions.journaled import Journaled
from logstore.broker.transactions.operations import (
    decided_key,
    decision_of,
    encode_decision,
    encode_known,
    known_key,
)
from logstore.broker.transactions.state import IDLE, Outcome, State
from logstore.broker.transactions.table import Table
from logstore.broker.transactions.transactional_id import TV1, TV2, Missing, Producer
from logstore.errors import LogstoreError
from logstore.protocols.kafka.errors import coordinator_code

PF, ITS, NONE, EB, CONCURRENT = 90, 48, "none", "bump", 51
MAX = 32767

# The comment in TransactionCoordinator.scala: abort again, abort, commit again, commit.
END_V2 = {
    "Empty": (PF, EB, PF, ITS),
    "CompleteAbort": (NONE, EB, ITS, ITS),
    "CompleteCommit": (ITS, EB, NONE, ITS),
    "Ongoing": (PF, EB, PF, EB),
    "PrepareAbort": (CONCURRENT, PF, ITS, PF),
    "PrepareCommit": (ITS, PF, CONCURRENT, PF),
}
# endTransactionWithTV1: abort, commit.
END_V1 = {
    "Empty": (ITS, ITS),
    "CompleteAbort": (NONE, ITS),
    "CompleteCommit": (ITS, NONE),
    "Ongoing": ("end", "end"),
    "PrepareAbort": (CONCURRENT, ITS),
    "PrepareCommit": (ITS, CONCURRENT),
}


class Model:
    """One id, as Kafka's coordinator has it: what it is, and what it is about to become.

    Each request gives a code, or (producer id, epoch), or "written" where the log is written to.
    """

    def __init__(self, pids):
        self.pids = pids
        self.now = None  # pid, epoch, last, before (the producer id), state
        self.coming = None
        self.open_since = None

    def init(self, pid, epoch):
        if self.coming is not None:
            return CONCURRENT
        if self.now is None:
            return self._write(self.pids(), 0, -1, None, "Empty")
        has, current, last, before, state = self.now
        first_time = pid == -1
        if not (first_time or pid == has or (pid == before and epoch >= MAX - 1)):
            return PF
        if state in ("PrepareAbort", "PrepareCommit"):
            return CONCURRENT
        if state == "Ongoing":
            return self.fence() if first_time or (pid, epoch) == (has, current) else PF
        if first_time or epoch == current:
            last = -1 if first_time else current
            if current >= MAX - 1:
                return self._write(self.pids(), 0, last, has, "Empty")
            return self._write(has, current + 1, last, None, "Empty")
        return (has, current) if epoch == last else PF

    def begin(self, pid, epoch, otherwise=None):
        """``otherwise``: the code where no transaction is open and none is to be begun."""
        if self.coming is not None:
            return CONCURRENT
        if self.now is None or pid != self.now[0]:
            return 49
        has, current, last, _, state = self.now
        if epoch != current:
            return PF
        if state in ("PrepareAbort", "PrepareCommit"):
            return CONCURRENT
        if state == "Ongoing":
            return has, current
        if otherwise is not None:
            return otherwise
        self.now = has, current, last, None, "Ongoing"
        return has, current

    def end(self, pid, epoch, commit, version):
        if self.coming is not None:
            return CONCURRENT
        if self.now is None:
            return 49
        has, current, last, before, state = self.now
        if version == TV1:
            if pid != has:
                return 49
            if epoch != current:
                return PF
            found = END_V1[state][commit]
            if found == "end":
                prepare = "PrepareCommit" if commit else "PrepareAbort"
                return self._write(has, current, last, None, prepare)
        else:
            overflow = before is not None and (pid, epoch, current) == (before, MAX - 1, 0)
            if pid != has and not overflow:
                return 49
            if overflow or epoch == current - 1:
                column = 0
            elif epoch == current:
                column = 1
            else:
                return PF
            found = END_V2[state][column + 2 * commit]
            if found == EB:
                return self._bump("PrepareCommit" if commit else "PrepareAbort")
        return (has, current) if found == NONE else found

    def fence(self):
        return self._bump("PrepareAbort")

    def _bump(self, prepare):
        has, current, _, _, _ = self.now
        self.next = self.pids() if current >= MAX - 1 else None
        return self._write(has, current + 1, current, None, prepare)

    def _write(self, *coming):
        self.coming = coming
        return "written"

    def kept(self):
        self.now, self.coming = self.coming, None

    def undone(self):
        self.coming = None

    def completed(self):
        has, current, last, before, state = self.now
        state = state.replace("Prepare", "Complete")
        if getattr(self, "next", None) is not None:
            has, current, before, self.next = self.next, 0, has, None
        self.now = has, current, last, before, state


pids = st.sampled_from(["now", "now", "now", "before", "other", "none"])
deltas = st.sampled_from([0, 0, 0, 0, -1, -1, 1, MAX - 1])
outcomes = st.sampled_from(Outcome)
STEPS = st.one_of(
    st.tuples(st.just("init"), st.one_of(st.just("none"), pids), deltas, st.none()),
    st.tuples(st.just("add"), pids, deltas, st.none()),
    st.tuples(st.just("admit"), pids, deltas, st.sampled_from(Missing)),
    st.tuples(st.just("end"), pids, deltas, st.tuples(outcomes, st.sampled_from([TV1, TV2]))),
    st.tuples(st.just("fence"), st.just("now"), st.just(0), st.none()),
    st.tuples(st.sampled_from(["kept", "kept", "kept", "undone"]), *[st.none()] * 3),
    st.tuples(st.just("completed"), *[st.none()] * 3),
)
REFUSED = {Missing.REFUSED: 48, Missing.ABORTABLE: 120, Missing.ADDED: None}


class Both:
    """A table of one id and its model, and the journal that is told of it."""

    def __init__(self, epoch):
        self.new_pid, self.new_pid_of_model = Pids(1000), Pids(1000)
        self.model = Model(self.new_pid_of_model)
        self.table, self.journaled, self.place = Table(), Journaled(), 0
        self.tell = None
        if epoch:
            known = an_id(epoch=epoch)._replace(last_epoch=epoch - 1)
            self.journaled.apply(known_key("copier"), encode_known(known), 0)
            self.place = 1
            [it] = self.journaled.ids()
            self.table = Table([it])
            self.table.initialize("copier", 60_000, it.producer, self.new_pid, at())
            self.kept()
            self.model.now = known.pid, epoch, epoch - 1, None, "Empty"
            self.model.init(known.pid, epoch)
            self.model.kept()

    @property
    def it(self):
        return self.table.get("copier")

    def asked(self, which, delta):
        """A producer that stands somewhere to the one that there is."""
        if which == "none":
            return Producer(-1, -1)
        if self.it is None or which == "other":
            return Producer(5, max(0, delta))
        pid = self.it.pid if which == "now" else max(0, self.it.previous_pid)
        epoch = delta if delta > 1 else self.it.epoch + delta
        return Producer(pid, min(MAX, max(0, epoch)))

    def ask(self, call):
        try:
            it = call()
        except LogstoreError as error:
            return coordinator_code(error, knows_fenced=True)
        if not it.pending:
            return it.producer
        if it.state is State.EMPTY:
            self.tell = known_key(it.name), encode_known(it)
        else:
            self.tell = decided_key(it.pid), encode_decision(decision_of(it))
        return "written"

    def kept(self):
        if self.tell is None:
            key, value = known_key("copier"), encode_known(self.it)
        else:
            key, value = self.tell
        self.journaled.apply(key, value, self.place)
        self.place += 1
        self.tell = None
        self.table.kept("copier")

    def step(self, what, which, delta, more):
        """What both say."""
        table, model, name = self.table, self.model, "copier"
        if what == "kept" and model.coming is not None:
            self.kept()
            model.kept()
        elif what == "undone" and model.coming is not None:
            self.tell = None
            table.undone(name, at())
            model.undone()
        elif what == "completed":
            if model.coming is None and self.it is not None and self.it.state.name[:3] == "PRE":
                table.completed(name)
                model.completed()
        elif what == "fence":
            if model.coming is None and self.it is not None and self.it.state is State.ONGOING:
                return self.ask(lambda: table.fence(name, self.new_pid, at())), model.fence()
        elif what in ("init", "add", "admit", "end"):
            producer = self.asked(which, delta)
            if what == "init":
                found = self.ask(
                    lambda: table.initialize(name, 60_000, producer, self.new_pid, at())
                )
                return found, model.init(*producer)
            if which == "none":  # no request has that; the table knows no such producer
                return None, None
            if what == "add":
                return self.ask(lambda: table.add(name, producer, at())), model.begin(*producer)
            if what == "admit":
                found = self.ask(lambda: table.admit(name, producer, more, at()))
                return found, model.begin(*producer, otherwise=REFUSED[more])
            outcome, version = more
            found = self.ask(
                lambda: table.end(name, producer, outcome, version, self.new_pid, at())
            )
            return found, model.end(*producer, outcome is Outcome.COMMIT, version)
        return None, None

    def check(self):
        it, model = self.it, self.model
        assert self.new_pid.given == self.new_pid_of_model.given
        if it is None:
            assert model.now is None
            assert model.coming is None
            return
        pid, epoch, last, before, state = model.now if model.coming is None else model.coming
        assert (it.pid, it.epoch, it.last_epoch) == (pid, epoch, last)
        assert it.previous_pid == (-1 if before is None else before)
        assert it.state.wire_name == state
        assert it.pending is (model.coming is not None)

    def replayed(self):
        """The id, and what the journal makes of it, so far as they have to be the same."""
        if self.model.coming is not None:
            self.step("undone", None, None, None)
        self.step("completed", None, None, None)
        [it] = [*self.journaled.ids(), None][:1]
        if self.it is None or self.it.state not in IDLE:
            # Of what is open the journal knows nothing: it is known where the data is.
            named = ("pid", "epoch", "last_epoch", "timeout_ms", "version")
            return [
                [getattr(one, name) for name in named] if one is not None else None
                for one in (self.it, it)
            ]
        return self.it._replace(restored=False), it


@given(st.sampled_from([0, 0, 3, MAX - 3]), st.lists(STEPS, max_size=40))
def test_the_table_does_what_kafka_does(epoch, steps):
    both = Both(epoch)
    for what, which, delta, more in steps:
        before = both.it
        found, expected = both.step(what, which, delta, more)
        note(f"{what} {which} {delta} {more}: {found}; {before}")
        assert found == expected
        both.check()
    live, replayed = both.replayed()
    assert live == replayed


@given(st.lists(STEPS, max_size=40))
def test_an_epoch_is_given_once(steps):
    """No two answers to InitProducerId or EndTxn name the same producer, but for those that are
    asked for again; and nothing of a fenced producer is taken."""
    both, newest = Both(MAX - 3), (0, 0)
    for what, which, delta, more in steps:
        producer = both.asked(which, delta or 0) if which else None
        found, _ = both.step(what, which, delta, more)
        it = both.it
        if it is None:
            continue
        assert (it.pid, it.epoch) >= newest or it.pending is False
        if what == "kept" and not it.pending:
            assert (it.pid, it.epoch) >= newest
            newest = it.pid, it.epoch
        if what in ("add", "admit") and isinstance(found, tuple):
            assert found == producer == it.producer
