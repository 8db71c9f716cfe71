"""The whole requests of one read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.protocols.resp.whole import WholeRequests, written

PING = b"*1\r\n$4\r\nPING\r\n"
GET = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"


def test_whole_requests_are_read_at_once():
    assert WholeRequests().read(GET + PING) == ([[b"GET", b"a"], [b"PING"]], True)


@pytest.mark.parametrize(
    "rest", [PING[:-1], b"*1\r\n$4\r\nPI", b"*", b"$-5\r\nx\r\n", b"*1\r\n$x\r\n", b"\0"]
)
def test_what_is_not_whole_or_broken_is_left_and_nothing_of_it_stays(rest):
    whole = WholeRequests()
    assert whole.read(GET + rest) == ([[b"GET", b"a"]], False)
    assert whole.read(GET) == ([[b"GET", b"a"]], True)


@pytest.mark.parametrize("sign", [b"*", b">", b"~", b"%", b"|"])
def test_nothing_is_read_where_many_elements_are_claimed(sign):
    assert WholeRequests().read(GET + sign + b"100000\r\n") == ([], False)


@given(st.lists(st.lists(st.binary(max_size=200), min_size=1, max_size=12), max_size=12))
def test_the_bytes_of_requests_are_known_from_what_they_say(requests):
    raw = b"".join(
        b"*%d\r\n" % len(it) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in it)
        for it in requests
    )
    assert written(requests) == len(raw)
