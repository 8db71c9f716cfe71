"""A server that was stopped and goes on: members that have sent their heartbeats stay members."""

import os
import re
import signal
from pathlib import Path
from time import monotonic

import pytest
from waiting import until
from wire_client import WireClient
from wire_member import Member

from logstore.kafka.messages import describe_groups

pytestmark = pytest.mark.long

SESSION_MS = 2000
UNKNOWN_MEMBER = 25


def info(server, name):
    import redis

    with redis.Redis(*server.redis) as client:
        return client.info()[name]


def stop_for(server, seconds):
    """Have the process stand still for so long, by the kernel's word."""
    os.kill(server.process.pid, signal.SIGSTOP)
    ends = monotonic() + seconds
    status = Path(f"/proc/{server.process.pid}/status")
    until(lambda: "\nState:\tT" in status.read_text())
    return lambda: (until(lambda: monotonic() > ends), os.kill(server.process.pid, signal.SIGCONT))


def members_of(server, group):
    with WireClient(server.endpoint) as client:
        request = describe_groups.Request([group])
        [found] = client.ask(15, 5, request, describe_groups.Response).groups
        return len(found.members)


def test_heartbeats_that_waited_in_the_sockets_count_before_anyone_is_thrown_out(start):
    server = start(group_min_session_timeout_ms=1000, group_initial_rebalance_delay_ms=0)
    groups = [f"g{number}" for number in range(20)]
    members = [Member(server.endpoint, group, SESSION_MS).settle() for group in groups]
    silent = Member(server.endpoint, "silent", SESSION_MS).settle()
    go_on = stop_for(server, SESSION_MS / 1000 + 2)
    sent = [it.send(12, 4, it.a_beat(), flexible=True) for it in members]
    go_on()
    for member, correlation in zip(members, sent, strict=True):
        answered, body = member.receive()
        assert (answered, body) == (correlation, b"\0" + b"\0" * 4 + b"\0\0" + b"\0")
        assert member.beat() == 0
    assert info(server, "eventloop_gaps") >= 1
    assert info(server, "eventloop_gap_milliseconds") > SESSION_MS

    def silence_is_noticed():
        assert all(it.beat() == 0 for it in members)
        return members_of(server, "silent") == 0

    until(silence_is_noticed)
    assert silent.beat() == UNKNOWN_MEMBER
    for it in (*members, silent):
        it.socket.close()
    assert server.stop() == (0, "")
    said = Path(f"{server.data}.stderr").read_text()
    assert re.search(r"nobody was heard for \d\.\d s: clients are given as much more time", said)
