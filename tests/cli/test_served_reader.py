"""What a server sends, to methods and contents: whole, in pieces, and broken."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logstore_cli.served import reader as served_reader
from logstore_cli.served.reader import Arrived, Reader

from logstore.amqp import frames, methods, properties
from logstore.amqp.frames import HEADER, body_frames, frame, method_frame
from logstore.amqp.replies import Refusal

PROPERTIES = properties.write(properties.Properties(headers={"a": 1}, priority=5))


def delivery(channel, tag, body, frame_max=100):
    method = methods.BasicDeliver("t", tag, False, "e", "k")
    header = frame(HEADER, channel, properties.header(len(body), PROPERTIES))
    sent = b"".join((method_frame(channel, method), header, *body_frames(channel, body, frame_max)))
    return sent, Arrived(channel, method, PROPERTIES, body)


def answer(channel, method):
    return method_frame(channel, method), Arrived(channel, method)


ARRIVALS = st.one_of(
    st.builds(delivery, st.integers(1, 3), st.integers(1, 1 << 40), st.binary(max_size=400)),
    st.builds(lambda n: answer(n, methods.QueueDeclareOk("q", n, 0)), st.integers(1, 3)),
    st.just(answer(0, methods.ConnectionBlocked("low on disk"))),
    st.just((frames.HEARTBEAT_FRAME, None)),
)


@given(st.lists(ARRIVALS, max_size=8), st.data())
def test_however_the_bytes_are_split_the_same_arrives(arrivals, data):
    sent = b"".join(it for it, _ in arrivals)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=12)))
    reader, found = Reader(), []
    for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        found += reader.receive(sent[begin:end])
    assert found == [it for _, it in arrivals if it is not None]


@given(st.lists(ARRIVALS, min_size=1, max_size=4), st.data())
def test_broken_bytes_give_nothing_or_a_refusal(arrivals, data):
    sent = bytearray(b"".join(it for it, _ in arrivals))
    for at in data.draw(st.lists(st.integers(0, len(sent) - 1), min_size=1, max_size=5)):
        sent[at] = data.draw(st.integers(0, 255))
    with suppress(Refusal):
        Reader().receive(bytes(sent))


HEAD = frame(HEADER, 1, properties.header(3, PROPERTIES))
DELIVER = method_frame(1, methods.BasicDeliver("t", 1, False, "e", "k"))


@pytest.mark.parametrize(
    ("sent", "what"),
    [
        (frames.PROTOCOL, "another version of AMQP"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "too large"),
        (frame(9, 1, b"abc"), "type 9"),
        (frame(frames.METHOD, 1, b"\0\x3c\0\x01"), "unknown method"),
        (frame(frames.METHOD, 1, b"abc")[:-1] + b"\0", "does not end"),
        (HEAD, "a frame of type 2"),
        (DELIVER + DELIVER, "a frame of type 1"),
        (DELIVER + frame(frames.BODY, 1, b"abc"), "a frame of type 3"),
        (DELIVER + HEAD + frame(frames.BODY, 1, b"abcd"), "longer than its header says"),
        (DELIVER + HEAD + HEAD, "a frame of type 2"),
        (DELIVER + frame(HEADER, 1, properties.header(1 << 40, PROPERTIES)), "too large"),
    ],
)
def test_what_no_server_of_amqp_sends_is_refused(sent, what):
    with pytest.raises(Refusal, match=what):
        Reader().receive(sent)


def test_a_body_is_kept_in_pieces_and_joined_once():
    body = bytes(range(256)) * 4096
    sent, whole = delivery(1, 7, body, served_reader.FRAME_BYTES_MAX)
    reader = Reader()
    found = [it for at in range(0, len(sent), 4096) for it in reader.receive(sent[at : at + 4096])]
    assert found == [whole]
