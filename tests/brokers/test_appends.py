"""Appends to a real cluster: each batch once and in order, whichever broker dies meanwhile."""

import signal

import pytest

COUNT = 400  # before it, and behind it, each


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
@pytest.mark.parametrize("which", ["leader", "follower", "controller"])
def test_a_broker_that_goes_loses_nothing_and_doubles_nothing(
    cluster, make_topic, connect, which, ending
):
    topic, client = make_topic(), connect()
    log = client.log(topic)
    given = [b"%d" % it for it in range(2 * COUNT)]
    for value in given[:COUNT]:
        client.append(log, value)
    broker = cluster.controller() if which == "controller" else getattr(cluster, which)(topic)
    broker.signal(ending)
    for value in given[COUNT:]:
        client.append(log, value)
    client.until(log, lambda: log.done == log.safe == len(given))
    assert [log.offset_of(it) for it in range(len(given))] == list(range(len(given)))
    assert client.read_all(log) == given
    cluster.heal()
    late = connect()
    assert late.read_all(late.log(topic)) == given
