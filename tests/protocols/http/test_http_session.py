"""Requests in, answers out: one after another, however the bytes come."""

import json

import pytest
from http_kit import HttpPeer, answers, request
from hypothesis import given
from hypothesis import strategies as st

from logstore.errors import UnknownTopic
from logstore.http.server_end import BODY_BYTES_MAX, HEAD_BYTES_MAX
from logstore.protocols.http.session import ANSWERS_AT_ONCE, DISCARD_S, REQUEST_S

SERVER = request("GET", "/api/v1/server")
JOB = request("POST", "/api/v1/jobs", b'{"name":"compact"}')


def statuses(data, **more):
    return [status for status, _, _ in answers(data, **more)]


def errors(data):
    return [json.loads(body).get("error") for _, _, body in answers(data)]


def test_a_request_is_answered_and_the_connection_stays(peer):
    [(status, headers, body)] = answers(peer.say(SERVER))
    assert (status, json.loads(body)) == (200, {"version": "test"})
    assert headers == {"content-type": "application/json", "content-length": str(len(body))}
    assert statuses(peer.say(SERVER)) == [200]
    assert peer.session.closed is None
    assert not peer.session.busy
    assert peer.session.deadline is None


def test_a_client_that_asks_for_the_end_gets_it(peer):
    last = request("GET", "/api/v1/server", b"", "connection: close")
    [(status, headers, _)] = answers(peer.say(last))
    assert (status, headers["connection"], peer.session.closed) == (200, "close", "")


def test_a_client_of_the_old_version_is_answered_and_closed(peer):
    assert statuses(peer.say(b"GET /api/v1/server HTTP/1.0\r\n\r\n")) == [200]
    assert peer.session.closed == ""


def test_a_target_may_name_the_server_too(peer):
    assert statuses(peer.say(request("GET", "HTTP://host:1/api/v1/server"))) == [200]
    assert statuses(peer.say(request("GET", "http://host/none"))) == [404]


def test_head_is_a_get_without_a_body(peer):
    [(status, headers, body)] = answers(peer.say(request("HEAD", "/api/v1/server")), heads=(0,))
    assert (status, headers["content-length"], body) == (200, "19", b"")
    assert statuses(peer.say(SERVER)) == [200]


@pytest.mark.parametrize(
    ("sent", "status", "error"),
    [
        (request("GET", "/none"), 404, "no such path: /none"),
        (request("GET", "/api/v1/server/"), 404, "no such path: /api/v1/server/"),
        (request("GET", "/api/v1/%00%ff\xe4?x".replace("\xe4", "%E4")), 404,
         "no such path: /api/v1/%00%ff%E4"),
        (request("PUT", "/api/v1/server"), 405, "PUT is not for this path, but GET, HEAD"),
        (request("OPTIONS", "*"), 404, "no such path: *"),
        (request("CONNECT", "example.org:80"), 404, "no such path: example.org:80"),
        (request("GET", "/api/v1/server?a=1"), 400,
         "no parameter 'a' of this path; it takes none"),
        (request("GET", "/api/v1/queues?vhots=1"), 400,
         "no parameter 'vhots' of this path (did you mean vhost?); it takes vhost, filter, "
         "regex, sort, page, page_size"),
        (request("GET", "/api/v1/queues?page=1&page=2"), 400, "parameter 'page' is given twice"),
        (request("GET", "/api/v1/queues?page=0"), 400,
         "page=0: must be a number from 1 to 1000000000"),
        (request("GET", "/api/v1/queues?page_size=501"), 400,
         "page_size=501: must be a number from 1 to 500"),
        (request("GET", "/api/v1/queues?page=%C2%B2"), 400,
         "page=²: must be a number from 1 to 1000000000"),
        (request("GET", "/api/v1/queues?vhost=%0Ax"), 404,
         "no virtual host '\\nx'; use an existing one"),
        (request("GET", "/api/v1/queues/q"), 404, "no virtual host '/'; use an existing one"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_said_in_one_line(peer, sent, status, error):
    out = peer.say(sent + SERVER)
    assert statuses(out) == [status, 200]  # the connection goes on
    assert errors(out)[0] == error


def test_a_method_that_is_not_allowed_is_told_which_are(peer):
    [(_, headers, _)] = answers(peer.say(request("DELETE", "/api/v1/server")))
    assert headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\r\n\r\n", 400),
        (b"hello\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", 400),
        (b"GET /api/v1/server HTTP/1.1\r\n\r\n", 400),  # no host
        (b"GET /api/v1/server HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n", 501),
        (b"GET /" + b"a" * HEAD_BYTES_MAX, 431),
        (request("GET", "/", b"", "x: " + "y" * HEAD_BYTES_MAX), 431),
        (request("POST", "/api/v1/jobs", b"", f"content-length: {BODY_BYTES_MAX + 1}"), 413),
        (request("POST", "/api/v1/jobs", b"", "content-length: 99999999999999999999"), 413),
    ],
)
def test_what_is_no_request_is_told_so_and_nothing_more_is_read(peer, sent, status):
    out = peer.say(SERVER + sent + SERVER * 3)
    [(first, _, _), (refused, headers, body)] = answers(out)
    assert (first, refused, headers["connection"]) == (200, status, "close")
    assert "\n" not in json.loads(body)["error"]
    assert peer.feed(SERVER) == len(SERVER)  # thrown away
    assert peer.out() == b""
    assert peer.session.closed is None  # or the answer would be lost on its way
    assert peer.pass_time(DISCARD_S) == b""
    assert peer.session.closed == ""


def test_a_body_in_chunks_has_the_same_bound(peer):
    head = request("POST", "/api/v1/jobs", b"", "transfer-encoding: chunked")
    chunk = b"%x\r\n%b\r\n" % (1 << 16, bytes(1 << 16))
    out = peer.say(head + chunk * 16 + b"1\r\nx\r\n")
    assert statuses(out) == [413]
    assert peer.session.held_bytes < 1 << 16


def test_a_body_in_very_many_chunks_is_not_taken(peer):
    head = request("POST", "/api/v1/jobs", b"", "transfer-encoding: chunked")
    out = peer.say(head + b"1\r\nx\r\n" * 2000)
    assert statuses(out) == [400]
    assert errors(out) == ["a body in this many small chunks is not accepted"]
    peer = HttpPeer()
    assert peer.say(head + b"400\r\n" + bytes(1024) + b"\r\n") == b""
    assert peer.say((b"400\r\n" + bytes(1024) + b"\r\n") * 1000 + b"0\r\n\r\n") == b""
    assert len(peer.jobs) == 1


def test_targets_of_very_many_parts_are_refused_before_they_are_taken_apart(peer):
    assert errors(peer.say(request("GET", "/a" * 40))) == [f"no such path: {'/a' * 40}"]
    many = "&".join(f"{it}" for it in range(200))
    out = peer.say(request("GET", f"/api/v1/server?{many}"))
    assert errors(out) == ["at most 100 parameters are allowed"]


def test_who_waits_before_sending_a_body_is_told_to_go_on(peer):
    head = request("POST", "/api/v1/jobs", b"", "content-length: 2", "expect: 100-continue")
    assert statuses(peer.say(head)) == [100]
    assert peer.jobs == []
    peer.say(b"{}")
    [(body, reply)] = peer.jobs
    assert body == b"{}"
    reply.answer(1)
    assert statuses(peer.out()) == [200]


def test_half_a_request_is_given_up(peer):
    assert peer.say(SERVER[:20]) == b""
    assert peer.session.deadline == peer.now + REQUEST_S
    peer.pass_time(REQUEST_S - 1)
    assert peer.say(SERVER[20:30]) == b""  # one byte now and then buys no time
    assert statuses(peer.pass_time(1)) == [408]
    assert peer.session.closed is None
    peer.pass_time(DISCARD_S)
    assert peer.session.closed == ""


def test_time_begins_anew_with_each_request(peer):
    peer.say(SERVER[:20])
    peer.pass_time(REQUEST_S - 1)
    assert statuses(peer.say(SERVER[20:] + SERVER[:20])) == [200]
    assert peer.session.deadline == peer.now + REQUEST_S


def test_the_time_of_an_answer_is_not_the_clients(peer):
    peer.say(JOB + SERVER[:20])
    assert peer.session.busy
    assert peer.pass_time(10 * REQUEST_S) == b""
    [(_, reply)] = peer.jobs
    reply.answer({})
    assert statuses(peer.out()) == [200]
    assert statuses(peer.say(SERVER[20:])) == [200]


def test_what_comes_behind_a_request_waits_until_it_is_answered(peer):
    assert peer.say(JOB + SERVER + JOB) == b""
    assert len(peer.jobs) == 1
    assert peer.session.busy
    peer.jobs[0][1].answer("first")
    assert peer.woken
    assert [body for _, _, body in answers(peer.out())] == [b'"first"\n', b'{"version":"test"}\n']
    assert len(peer.jobs) == 2


def test_many_requests_at_once_are_answered_some_at_a_time(peer):
    peer.feed(SERVER * 100)
    first = peer.session.outgoing(1 << 20)
    assert len(answers(b"".join(first))) == ANSWERS_AT_ONCE
    assert peer.session.busy
    assert statuses(peer.out()) == [200] * (100 - ANSWERS_AT_ONCE)
    assert not peer.session.busy


def test_requests_that_take_long_are_answered_one_at_a_time():
    now = iter(range(1000))
    peer = HttpPeer(facts=lambda: {"version": "test"}, stopwatch=lambda: next(now))
    peer.feed(SERVER * 5)
    for _ in range(5):
        assert statuses(b"".join(peer.session.outgoing(1 << 20))) == [200]
    assert peer.out() == b""
    assert not peer.session.busy


def test_requests_wait_while_answers_are_not_taken():
    peer = HttpPeer(facts=lambda: {"text": "x" * (1 << 18)})
    peer.feed(SERVER * 50)
    assert peer.session.held_bytes < 1 << 20
    assert len(peer.out()) > 50 << 18


def test_an_answer_in_lines(peer):
    peer.say(JOB)
    [(body, reply)] = peer.jobs
    assert body == b'{"name":"compact"}'
    reply.line(b"1\n", skip=True)
    reply.line(b"2\n", skip=True)
    reply.line(b"3\n")
    reply.line(b"4\n")
    first = peer.out()
    reply.line(b"5\n", skip=True)
    second = peer.out()
    reply.line(b"6\n", skip=True)
    reply.end()
    [(status, headers, body)] = answers(first + second + peer.out())
    assert (status, headers["content-type"]) == (200, "application/x-ndjson")
    assert body == b"2\n3\n4\n5\n6\n"  # what was said in one turn and may be skipped, was
    assert statuses(peer.say(SERVER)) == [200]


def test_lines_to_a_client_of_the_old_version_end_with_the_connection(peer):
    peer.say(b"POST /api/v1/jobs HTTP/1.0\r\ncontent-length: 2\r\n\r\n{}")
    [(_, reply)] = peer.jobs
    reply.line(b"1\n")
    reply.end()
    assert peer.out().partition(b"\r\n\r\n")[2] == b"1\n"
    assert peer.session.closed == ""


def test_lines_are_held_in_the_clients_name_until_they_are_sent(peer):
    peer.say(JOB)
    [(_, reply)] = peer.jobs
    before = peer.session.held_bytes
    for _ in range(100):
        reply.line(bytes(10_000))
    assert peer.session.held_bytes >= before + 1_000_000
    first = sum(map(len, peer.session.outgoing(50_000)))
    assert first < 61_000
    assert peer.session.held_bytes >= before + 900_000


def test_a_job_that_cannot_be_done_has_its_status(peer):
    peer.say(JOB)
    peer.jobs[0][1].fail(UnknownTopic("no topic 'x'"))
    [(status, _, body)] = answers(peer.out())
    assert (status, json.loads(body)) == (404, {"error": "no topic 'x'", "kind": "UnknownTopic"})


def test_a_bug_in_a_route_is_answered_and_logged(caplog):
    def bug():
        raise ZeroDivisionError("a bug")

    peer = HttpPeer(facts=bug)
    out = peer.say(SERVER + JOB)
    assert statuses(out) == [500]
    assert errors(out) == ["internal error: ZeroDivisionError('a bug')"]
    assert "a bug in an answer" in caplog.text
    assert len(peer.jobs) == 1


def test_who_has_gone_is_answered_nothing(peer):
    peer.say(JOB)
    [(_, reply)] = peer.jobs
    peer.session.close()
    reply.line(b"1\n")
    reply.end()
    assert peer.session.outgoing(1 << 20) == ()
    assert peer.session.closed is None


def test_a_server_that_stops_answers_what_is_short_and_ends_what_is_long(peer):
    assert peer.session.leave(peer.now) is False
    assert peer.session.closed is None
    peer.say(JOB)
    assert peer.session.leave(peer.now) is False
    assert peer.session.closed == ""


REQUESTS = st.sampled_from(
    [
        SERVER,
        request("GET", "/api/v1/vhosts"),
        request("HEAD", "/api/v1/server"),
        request("POST", "/api/v1/server", b"some body"),
        request("POST", "/", b"", "transfer-encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n",
        request("PUT", "/x", b"", "content-length: 3", "expect: 100-continue") + b"abc",
        request("GET", "/none", b"", "upgrade: websocket", "connection: upgrade"),
        request("GET", "/none", b"", "connection: close"),
        b"GET /api/v1/server HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n",
        b"nonsense\r\n\r\n",
        request("GET", "/", b"", "x: " + "y" * (HEAD_BYTES_MAX - 50)),
        request("GET", "/", b"", "x: " + "y" * HEAD_BYTES_MAX),
    ]
)


def all_answers(pieces):
    """Everything that is answered to these bytes, and whether the connection ends with it."""
    peer = HttpPeer()
    out = b"".join([peer.say(piece) for piece in pieces])
    discards = peer.session.deadline is not None and not peer.session.busy
    return out, peer.session.closed, discards and out.lower().count(b"connection: close")


@given(st.lists(REQUESTS, max_size=5), st.data())
def test_however_the_bytes_are_split_the_answers_are_the_same(requests, data):
    whole = b"".join(requests)
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=8).map(sorted))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert all_answers(pieces) == all_answers([whole])


@given(st.lists(REQUESTS.filter(lambda it: len(it) < 1000), max_size=3))
def test_byte_by_byte_the_answers_are_the_same(requests):
    whole = b"".join(requests)
    assert all_answers([bytes([it]) for it in whole]) == all_answers([whole])


@given(
    st.lists(
        st.one_of(st.binary(max_size=50), REQUESTS.map(lambda it: it[:200]),
                  st.sampled_from([b"\r\n", b"GET ", b" HTTP/1.1", b"host: x", b": ", b"\0"])),
        max_size=12,
    )
)  # fmt: skip
def test_garbage_is_answered_with_a_status_or_waited_for(pieces):
    peer = HttpPeer()
    for piece in pieces:
        for status, _, body in answers_of_any(peer.say(piece)):
            assert status in (100, 200, 400, 404, 405, 413, 431, 501)
            assert status < 400 or body.count(b"\n") == 1
    assert peer.session.held_bytes < 1 << 20


def answers_of_any(out):
    """As ``answers``, where it is not known which of them answer a HEAD."""
    try:
        return answers(out)
    except (AssertionError, IndexError, ValueError, KeyError):
        return []


@pytest.mark.parametrize(
    "headers",
    [("content-length: 4", "transfer-encoding: chunked"),
     ("Transfer-Encoding: CHUNKED", "Content-Length: 4")],
)  # fmt: skip
def test_a_body_of_two_lengths_is_refused_and_what_is_behind_it_is_no_request(peer, headers):
    """As a proxy before us sees it that goes by the other length (RFC 9112, 6.3)."""
    head = request("POST", "/api/v1/jobs", b"", *headers)
    out = peer.say(head + b"0\r\n\r\n" + SERVER)
    assert errors(out) == ["a body's length is given by chunks or by Content-Length, not by both"]
    assert statuses(out) == [400]
    assert peer.jobs == []
    assert peer.say(SERVER) == b""
