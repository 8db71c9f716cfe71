"""INFO: what flows through the door, and how fast since somebody asked before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resp_kit import FakeDoor

from logstore.protocols.resp.door import Flow
from logstore.protocols.resp.lately import APART_MS, LONG_MS, Lately


@pytest.fixture
def door():
    found = FakeDoor()
    found.ms, found.flow = 10_000, Flow(500, 2)
    found.door.clock = lambda: found.ms
    found.door.flow = lambda: found.flow
    return found


def stats(peer):
    text = peer.ask("INFO", "stats").decode()
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)


def test_bytes_out_and_refused_connections_are_counted(door):
    found = stats(door.connect())
    assert (found["total_net_output_bytes"], found["rejected_connections"]) == ("500", "2")


def test_they_begin_anew_with_the_other_counts(door):
    peer = door.connect()
    assert peer.ask("CONFIG", "RESETSTAT") == b"+OK\r\n"
    door.flow = Flow(750, 3)
    found = stats(peer)
    assert (found["total_net_output_bytes"], found["rejected_connections"]) == ("250", "1")
    assert int(found["total_net_input_bytes"]) < 100
    assert found["instantaneous_output_kbps"] == "0.00"  # nobody has asked before


def test_how_fast_it_goes_is_told_since_it_was_asked_before(door):
    peer = door.connect()
    assert stats(peer)["instantaneous_ops_per_sec"] == "0"
    for _ in range(40):
        peer.ask("PING")
    door.door.facts.turns.add(0.004)
    door.door.facts.turns.add(0.002)
    door.ms += 2000
    door.flow = Flow(500 + 10 * 1024, 2)
    found = stats(peer)
    assert found["instantaneous_ops_per_sec"] in ("20", "21")  # with the first INFO
    assert found["instantaneous_output_kbps"] == "5.00"
    assert 0.2 < float(found["instantaneous_input_kbps"]) < 1
    assert found["instantaneous_eventloop_cycles_per_sec"] == "1"
    assert found["instantaneous_eventloop_duration_usec"] == "3000"
    peer.ask("PING")
    door.ms += 10
    assert stats(peer)["instantaneous_ops_per_sec"] == found["instantaneous_ops_per_sec"]


def test_what_was_seen_long_ago_says_nothing_of_now():
    lately = Lately()
    lately.rates(0, [0])
    assert lately.rates(LONG_MS + 1, [100]) == [0.0]
    assert lately.rates(LONG_MS + 1001, [200]) == [100.0]
    assert lately.rates(5, [300]) == [0.0]  # the clock was set back
    assert lately.rates(1005, [0]) == [0.0]  # and the counter


@given(st.lists(st.tuples(st.integers(0, 3 * APART_MS), st.integers(0, 1000)), max_size=20))
def test_rates_are_never_below_zero_and_add_up_to_what_was_counted(steps):
    lately, now, count = Lately(), 0, 0
    lately.rates(0, [0])
    seen = looked = 0
    for passed, more in steps:
        now, count = now + passed, count + more
        [rate] = lately.rates(now, [count])
        assert rate >= 0
        if now - looked >= APART_MS:
            seen += rate * (now - looked) / 1000
            looked = now
            assert seen == pytest.approx(count)
