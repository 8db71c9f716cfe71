"""The rules of the waist (``logstore/log.py``) as a model: any log against a plain list.

The same steps, the same answers: what stands above logs may rely on nothing else.
"""

import pytest
from clock import NOW_MS
from far_log import FarLog
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from logstore.errors import OffsetAboveEnd, OffsetBelowStart
from logstore.log import NOT_KNOWN
from logstore.records.compression import Compression
from logstore.records.decode import decode
from logstore.records.encode import encode

values = st.lists(st.binary(max_size=40) | st.just(b"x" * 300), min_size=1, max_size=5)
codecs = st.sampled_from(list(Compression))
# Mostly forwards, in steps small and large; now and then back.
moments = st.integers(-3_000, 9_000)


class LogModel(RuleBasedStateMachine):
    """The steps; what a subclass adds is how its log is made, and what else can befall it."""

    log = None

    @initialize()
    def begin(self):
        self.records = []  # (timestamp, value), by offset
        self.placed = []  # by mark: the offset, or the message under way
        self.batches = []  # (first offset, last offset, largest timestamp)
        self.start = 0
        self.clock_ms = NOW_MS
        self.open()

    def open(self):
        raise NotImplementedError

    def acknowledge(self):
        """Make all appended records safe, and check their places."""
        self.log.wait(len(self.placed))
        assert self.log.done == len(self.placed)
        assert [self.log.offset_of(mark) for mark in range(len(self.placed))] == self.placed

    def stands(self, messages):
        """Note appended messages at the end: there is no other writer."""
        self.placed += range(len(self.records), len(self.records) + len(messages))
        self.records += [(message[3], message[0]) for message in messages]

    def bring(self):
        """Make requested data available."""
        pytest.fail("a read gave nothing, although all there is is here")

    @rule(given=values, codec=codecs, step_ms=moments, wait=st.booleans())
    def append(self, given, codec, step_ms, wait):
        self.clock_ms += step_ms
        messages = [(value, None, (), self.clock_ms + n % 3) for n, value in enumerate(given)]
        batch = encode(messages, compression=codec)
        mark = self.log.append(batch)
        assert mark == len(self.placed)
        self.stands(messages)
        if wait:
            self.acknowledge()
            assert self.log.safe > self.placed[-1]
        self.start = max(self.start, self.log.start)

    @rule(part=st.floats(0, 1), bytes_max=st.sampled_from([1, 200, 1 << 20]))
    def read(self, part, bytes_max):
        safe = self.log.safe
        at = self.start + round(part * (safe - self.start))
        self.check_read(self.log, at, bytes_max, safe)

    def check_read(self, log, at, bytes_max, safe):
        assert safe == log.safe
        batches = log.read(at, bytes_max)
        if not batches and at < safe:
            woken = []
            stop = log.watch(lambda: woken.append(True))
            self.bring()
            assert woken
            stop()
            batches, safe = log.read(at, bytes_max), log.safe
        assert bool(batches) == (at < safe)
        if not batches:
            return
        assert batches[0].base_offset <= at <= batches[0].last_offset
        assert sum(batch.size for batch in batches[1:]) <= max(bytes_max - batches[0].size, 0)
        expected = batches[0].base_offset
        for batch in batches:
            batch.check()
            for record in decode(batch):
                assert record.offset == expected
                assert (record.timestamp_ms, record.value) == self.records[expected]
                expected += 1
        assert expected <= safe

    @rule(beyond=st.integers(1, 5))
    def read_outside(self, beyond):
        with pytest.raises(OffsetAboveEnd):
            self.log.read(self.log.end + beyond, 100)
        if self.start > 0:
            with pytest.raises(OffsetBelowStart):
                self.log.read(max(0, self.start - beyond), 100)

    @rule(back_ms=st.integers(-5_000, 60_000))
    def find(self, back_ms):
        self.check_find(self.log, self.clock_ms - back_ms)

    def check_find(self, log, timestamp_ms):
        safe = log.safe
        expected = next(
            (at for at in range(self.start, safe) if self.records[at][0] >= timestamp_ms), safe
        )
        assert log.find(timestamp_ms) == expected

    @rule(part=st.floats(0, 1))
    def trim(self, part):
        before = self.start + round(part * (self.log.safe - self.start))
        self.log.trim(before)
        self.start = before

    @rule()
    def trim_too_far(self):
        with pytest.raises(OffsetAboveEnd):
            self.log.trim(self.log.end + 1)

    @rule(given=values)
    def watch(self, given):
        """Check that a watcher is woken once appended records are safe, until it stops."""
        woken = []
        stop = self.log.watch(lambda: woken.append(self.log.done))
        self.append(given, Compression.NONE, 0, wait=True)
        assert woken[-1] == len(self.placed)
        stop()
        self.append(given, Compression.NONE, 0, wait=True)
        assert woken[-1] < len(self.placed)

    @invariant()
    def bounds(self):
        if self.log is not None:
            assert self.start == self.log.start <= self.log.safe <= self.log.end
            assert self.log.done <= len(self.placed)
            self.check_end()

    def check_end(self):
        assert self.log.end == len(self.records)


class FarModel(LogModel):
    """The bytes are elsewhere: appends and reads are under way for a while; others append, too."""

    def open(self):
        self.log = FarLog("far")
        self.under_way = []

    def stands(self, messages):
        self.placed += [NOT_KNOWN] * len(messages)
        self.under_way += messages

    @rule()
    def arrive(self):
        own = len(self.placed) - len(self.under_way)
        self.placed[own:] = range(len(self.records), len(self.records) + len(self.under_way))
        self.records += [(message[3], message[0]) for message in self.under_way]
        self.under_way = []
        self.log.arrive()

    bring = arrive

    def acknowledge(self):
        assert [self.log.offset_of(mark) for mark in range(len(self.placed))] == self.placed
        self.arrive()
        super().acknowledge()

    @rule(given=values)
    def append_elsewhere(self, given):
        messages = [(value, None, (), self.clock_ms) for value in given]
        self.log.append_elsewhere(encode(messages))
        self.records += [(message[3], message[0]) for message in messages]

    def check_end(self):
        assert self.log.done + len(self.under_way) == len(self.placed)
        assert self.log.safe <= len(self.records)
