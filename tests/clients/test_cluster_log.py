"""A partition of a cluster over sockets: a server of our own, which is killed and comes back."""

import signal
from contextlib import closing

import librdkafka
import pytest
from cluster_client import ClusterClient

ROUNDS = 30


@pytest.mark.long
def test_every_batch_stands_there_once_over_kills_of_the_server(start):
    server = start()
    librdkafka.create(server, "t")
    given = [b"%d" % it for it in range(ROUNDS * 20)]
    with closing(ClusterClient([server.endpoint])) as client:
        log = client.log("t")
        for number, value in enumerate(given):
            client.append(log, value)
            if number % 200 == 199:
                server.stop(signal.SIGKILL)
                server = start(port=server.endpoint[1])
        client.until(log, lambda: log.done == log.safe == len(given))
        assert [log.offset_of(it) for it in range(len(given))] == list(range(len(given)))
        assert client.read_all(log) == given
    with closing(ClusterClient([server.endpoint])) as late:
        assert late.read_all(late.log("t")) == given
