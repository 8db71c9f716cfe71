"""A server that is asked to stop while something is on its way in it."""

import pytest
from serving import Serving

import logstore

COUNT = 20_000  # takes a second or so: a server stops before


@pytest.mark.long
def test_a_server_stopped_while_a_topic_feeds_an_exchange_sends_nothing_twice(tmp_path):
    with logstore.open(tmp_path / "data") as store:
        topic, queue = store.create_topic("t"), store.queue("q")
        queue.bind(store.exchange("x", "fanout"))
        store.create_topic("copy", partitions=3)
        store.exchange("x").lead("topic:copy")
        topic.append_many([logstore.Message(b"%d" % n) for n in range(COUNT)])
        store.route_topic("t", "x")
    for _ in range(3):
        code, errors = Serving(tmp_path / "data", resp_port=-1).stop()
        assert (code, errors) == (0, "")
    with logstore.open(tmp_path / "data") as store:
        queue = store.queue("q")
        while store.topic_routes()[0].lag != 0:
            queue.counts()  # a turn
        assert queue.counts().ready == COUNT
        assert sum(1 for _ in store.consumer("copy")) == COUNT
