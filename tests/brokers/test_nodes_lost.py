"""A node is killed, frozen, ended or cut off under load: nothing is lost, and others go on soon."""

import time

import pytest
from cluster_load import Load, named


@pytest.mark.parametrize("how", ["kill", "freeze", "end", "cut"])
def test_others_go_on_with_what_a_node_owned(trio, figure, how):
    queues = named(trio, 12)
    load = Load(trio.places, queues)
    try:
        load.wait_until_it_flows()
        began = time.monotonic()
        if how == "cut":
            trio.cut()
        else:
            getattr(trio, how)("b")
        load.wait_until_it_flows()
        confirms, deliveries = load.known.gaps(began, time.monotonic())
        figure(f"node: {how}", f"{max(deliveries.values()):.2f} s without deliveries of a queue")
        figure(f"node: {how}", f"{max(confirms.values()):.2f} s without confirms of a queue")
        if how == "freeze":
            trio.thaw("b")
        elif how == "cut":
            trio.mend()
        else:
            trio.begin("b")
        load.wait_until_it_flows()
        assert load.drain() == []
    finally:
        load.stop()
    load.check()
    assert load.known.strange == []
    assert load.known.back(trio.faults) == []
    assert load.known.unmarked(trio.freezes) == []
