"""A partition of real brokers against the model of all logs."""

from hypothesis import Phase, settings
from hypothesis.stateful import rule, run_state_machine_as_test
from log_model import LogModel, values

from logstore.errors import ClusterUnreachable
from logstore.records.encode import encode


class Called:
    """A log whose ``append`` is called in the client's thread; all else may be from anywhere."""

    def __init__(self, client, log):
        self._client, self._log = client, log

    def __getattr__(self, name):
        return getattr(self._log, name)

    def append(self, batch):
        return self._client.call(self._log.append, batch)


class RealModel(LogModel):
    def __init__(self, make_topic, client, other):
        super().__init__()
        self._make_topic, self._client, self._other = make_topic, client, other

    def open(self):
        self.topic = self._make_topic()
        self._log = self._client.log(self.topic)
        self.log = Called(self._client, self._log)
        self.elsewhere = self._other.log(self.topic)

    def stands(self, messages):
        super().stands(messages)
        self._all_is_here()

    def _all_is_here(self):
        its, count = self._log, len(self.records)
        self._client.until(its, lambda: its.safe == count and its.done == len(self.placed))

    def check_read(self, log, at, bytes_max, safe):
        """It comes between two looks, where the model has it brought."""
        its = self._log
        self._client.until(its, lambda: its.read(at, bytes_max) or at >= its.safe)
        super().check_read(log, at, bytes_max, safe)

    @rule(given=values)
    def append_elsewhere(self, given):
        messages = [(value, None, (), self.clock_ms) for value in given]
        self._other.call(self.elsewhere.append, encode(messages))
        self.records += [(message[3], message[0]) for message in messages]
        self._all_is_here()

    @rule()
    def drop_connections(self):
        self._client.call(self._drop)

    def _drop(self):
        for line in self._client.brokers._lines.values():
            if line.link is not None:
                line.link.lose(ClusterUnreachable("dropped"))

    def teardown(self):
        if self.log is not None:
            self._client.call(self._log.close)
            self._other.call(self.elsewhere.close)


def test_a_partition_keeps_the_rules_of_logs(make_topic, connect):
    client, other = connect(), connect()
    run_state_machine_as_test(
        lambda: RealModel(make_topic, client, other),
        settings=settings(
            max_examples=8,
            stateful_step_count=25,
            phases=[Phase.generate],
        ),
    )
