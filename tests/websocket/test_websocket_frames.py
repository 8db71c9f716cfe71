"""Frames of WebSocket beside wsproto: what it takes, gives and refuses."""

import pytest
import wsproto
from hypothesis import given
from hypothesis import strategies as st
from wsproto import events
from wsproto.connection import CLIENT, SERVER, Connection

from logstore.websocket import frames, handshake, reading
from logstore.websocket.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from logstore.websocket.reading import BadWebSocket, Reader

ROOM = 1 << 30
MASK = b"\x12\x34\x56\x78"


def client_frame(opcode, payload=b"", *, fin=True, mask=MASK, reserved=0, length=None):
    """As a client sends it, or might."""
    first = (0x80 if fin else 0) | reserved | opcode
    size = len(payload)
    bit = 0x80 if mask else 0
    if length is not None:
        said = length
    elif size < 126:
        said = bytes((bit | size,))
    elif size < 1 << 16:
        said = bytes((bit | 126,)) + size.to_bytes(2, "big")
    else:
        said = bytes((bit | 127,)) + size.to_bytes(8, "big")
    body = bytes(it ^ mask[n % 4] for n, it in enumerate(payload)) if mask else payload
    return bytes((first,)) + said + mask + body


def read(pieces, *, text=True, room=ROOM):
    """What stands within all of it; the reader."""
    reader, found, left = Reader(text=text), b"", b""
    for piece in pieces:
        left += piece
        while True:
            reader.frames_left = 1 << 30
            got, at = reader.take(left, 0, room)
            left = left[at:]
            found += got
            if not at:
                break
    return found, reader


def splits(raw, cuts):
    at = [0, *sorted(it % (len(raw) + 1) for it in cuts), len(raw)]
    return [raw[a:b] for a, b in zip(at, at[1:], strict=False)]  # noqa: RUF007


PAYLOAD = st.one_of(st.binary(max_size=300), st.integers(65_530, 65_540).map(bytes))


@given(PAYLOAD, st.binary(min_size=4, max_size=4))
def test_what_a_client_has_masked_is_read(payload, mask):
    assert read([client_frame(BINARY, payload, mask=mask)])[0] == payload


@given(PAYLOAD)
def test_wsproto_reads_what_is_written(payload):
    peer = Connection(CLIENT)
    peer.receive_data(frames.head(BINARY, len(payload)) + payload)
    assert b"".join(it.data for it in peer.events()) == payload


@given(st.lists(st.one_of(
    st.text(max_size=60), st.binary(max_size=300), st.just(...), st.integers(0, 125).map(bytes),
), max_size=6), st.lists(st.integers(0, 2000), max_size=6), st.integers(1, 400))  # fmt: skip
def test_what_wsproto_sends_is_read_however_it_is_split(sent, cuts, room):
    peer, raw, expected = Connection(CLIENT), b"", b""
    for it in sent:
        if it is ...:
            raw += peer.send(events.Ping(b"ping"))
        elif isinstance(it, str):
            raw += peer.send(events.TextMessage(it))
            expected += it.encode()
        else:
            half = len(it) // 2
            raw += peer.send(events.BytesMessage(it[:half], message_finished=False))
            raw += peer.send(events.BytesMessage(it[half:]))
            expected += it
    found, reader = read(splits(raw, cuts), room=room)
    assert found == expected
    assert reader.replies in ([], [b"\x8a\x04ping"])


def ours(raw):
    """What stands within, and the code with which the connection ends, if it does."""
    reader = Reader(text=True)
    try:
        found, _ = reader.take(raw, 0, ROOM)
    except BadWebSocket as error:
        return b"", error.code
    return found, reader.closed


def by_wsproto(raw):
    """The same."""
    oracle, found = Connection(SERVER), b""
    oracle.receive_data(raw)
    for event in oracle.events():
        if isinstance(event, events.Message):
            found += event.data.encode() if isinstance(event.data, str) else bytes(event.data)
        if isinstance(event, events.CloseConnection):
            return found, NO_CODE.get(event.code, event.code)
    return found, None


NO_CODE = {1005: 1000}  # of a close frame without one
BAD = {
    "no mask": client_frame(BINARY, b"x", mask=b""),
    "reserved bit": client_frame(BINARY, b"x", reserved=0x40),
    "no such type": client_frame(3, b"x"),
    "no such control": client_frame(11, b""),
    "split ping": client_frame(PING, b"x", fin=False),
    "long ping": client_frame(PING, b"x" * 126),
    "goes on with nothing": client_frame(CONTINUATION, b"x"),
    "begins within another": client_frame(BINARY, b"x", fin=False) + client_frame(BINARY, b"y"),
    "long length": client_frame(BINARY, b"x", length=b"\xfe\0\x01"),
    "longer length": client_frame(BINARY, b"x" * 200, length=b"\xff" + (200).to_bytes(8, "big")),
    "huge": client_frame(BINARY, b"", length=b"\xff" + b"\xff" * 8),
    "one byte of a code": client_frame(CLOSE, b"\x03"),
    "no such code": client_frame(CLOSE, (1005).to_bytes(2, "big")),
    "code below all": client_frame(CLOSE, (999).to_bytes(2, "big")),
    "code beyond all": client_frame(CLOSE, (5000).to_bytes(2, "big")),
}


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD)
def test_what_the_rfc_does_not_allow_ends_the_connection(raw):
    with pytest.raises(BadWebSocket) as refused:
        read([raw])
    assert refused.value.code == 1002
    assert "\n" not in str(refused.value)
    assert by_wsproto(raw)[1] == 1002


@pytest.mark.parametrize(
    "raw",
    [
        client_frame(TEXT, b"\xff"), client_frame(TEXT, b"\xc3"),
        client_frame(TEXT, b"\xc3", fin=False) + client_frame(CONTINUATION, b"("),
        client_frame(CLOSE, b"\x03\xe8\xff"),
    ],
)  # fmt: skip
def test_text_that_is_none_ends_the_connection(raw):
    with pytest.raises(BadWebSocket) as refused:
        read([raw])
    assert refused.value.code == 1007


def test_a_character_may_be_split_between_frames():
    raw = client_frame(TEXT, b"\xc3", fin=False) + client_frame(PING, b"p")
    raw += client_frame(CONTINUATION, b"\xa9", fin=True) + client_frame(TEXT, b"ok")
    assert read([raw])[0] == "\u00e9ok".encode()


def test_where_all_is_binary_text_is_refused():
    with pytest.raises(BadWebSocket) as refused:
        read([client_frame(TEXT, b"x")], text=False)
    assert refused.value.code == 1003


@pytest.mark.parametrize(
    ("payload", "code"),
    [(b"", 1000), ((1000).to_bytes(2, "big"), 1000), ((1001).to_bytes(2, "big") + b"bye", 1001),
     ((3000).to_bytes(2, "big"), 3000), ((4999).to_bytes(2, "big"), 4999)],
)  # fmt: skip
def test_a_close_frame_is_the_last_that_is_read(payload, code):
    raw = client_frame(CLOSE, payload) + client_frame(BINARY, b"too late")
    found, reader = read([raw])
    assert (found, reader.closed) == (b"", code)


def test_of_many_pings_the_last_is_answered():
    raw = b"".join(client_frame(PING, b"%d" % n) for n in range(1000))
    _, reader = read([raw])
    assert reader.replies == [frames.head(PONG, 3) + b"999"]
    assert reader.held_bytes == 5


def test_no_more_is_taken_than_there_is_room_for():
    reader = Reader(text=False)
    raw = client_frame(BINARY, b"x" * 1000) + client_frame(PING, b"p")
    got, at = reader.take(raw, 0, 300)
    assert (len(got), at) == (300, 308)
    got, more = reader.take(raw, at, 0)
    assert (got, more) == (b"", at)
    got, at = reader.take(raw, at, ROOM)
    assert (len(got), at, reader.replies != []) == (700, len(raw), True)


@given(st.lists(st.one_of(
    st.sampled_from(list(BAD.values())), st.binary(max_size=12),
    st.tuples(st.sampled_from([TEXT, BINARY, CONTINUATION, PING, PONG, CLOSE]),
              st.binary(max_size=9), st.booleans()).map(
        lambda it: client_frame(it[0], it[1], fin=it[2])),
), max_size=5))  # fmt: skip
def test_garbage_is_read_or_refused_as_by_wsproto(parts):
    raw = b"".join(parts)

    found, code = ours(raw)
    other, its = by_wsproto(raw)
    assert code == its
    # Of a message of text that has begun wsproto keeps what may be half a character; and what is
    # before a fault in the same frame.
    assert found.startswith(other) or other.startswith(found)


@pytest.mark.parametrize("code", [1000, 1001, 1008])
@pytest.mark.parametrize("reason", ["", "why", "\u00e9" * 100, "x" * 1000])
def test_the_close_frame_that_is_written_is_one(code, reason):
    peer = Connection(CLIENT)
    peer.receive_data(frames.close(code, reason))
    [event] = peer.events()
    assert event.code == code
    assert reason.startswith(event.reason or "")


# How it begins

ASKS = {
    "host": "h", "upgrade": "websocket", "connection": "keep-alive, Upgrade",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version": "13",
}  # fmt: skip


def test_the_sample_of_the_rfc_is_answered_as_there():
    assert handshake.is_asked_for(ASKS)
    assert handshake.fault_of("GET", ASKS) == ""
    assert handshake.answer(ASKS, "mqtt") == (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
        b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nsec-websocket-protocol: mqtt"
        b"\r\n\r\n"
    )


def test_wsproto_takes_the_answer():
    peer = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
    raw = peer.send(events.Request(host="h", target="/ws", subprotocols=["mqtt"]))
    headers = dict(
        line.lower().split(b": ", 1) if b"key" not in line.lower() else
        (line.split(b": ")[0].lower(), line.split(b": ", 1)[1])
        for line in raw.split(b"\r\n")[1:] if line
    )  # fmt: skip
    given_headers = {name.decode(): value.decode() for name, value in headers.items()}
    assert handshake.fault_of("GET", given_headers) == ""
    peer.receive_data(handshake.answer(given_headers, "mqtt"))
    [accepted] = peer.events()
    assert accepted == events.AcceptConnection(
        extra_headers=accepted.extra_headers, extensions=[], subprotocol="mqtt"
    )


@pytest.mark.parametrize(
    ("method", "changed", "why"),
    [
        ("POST", {}, "begins with GET"), ("GET", {"upgrade": "h2c"}, "no other protocol"),
        ("GET", {"sec-websocket-version": "8"}, "Sec-WebSocket-Version must be 13"),
        ("GET", {"sec-websocket-key": "short"}, "Sec-WebSocket-Key must be 16 bytes"),
        ("GET", {"sec-websocket-key": "?" * 24}, "Sec-WebSocket-Key must be 16 bytes"),
        ("GET", {"sec-websocket-key": None}, "Sec-WebSocket-Key must be 16 bytes"),
        ("GET", {"host": None}, "without Host"),
    ],
)  # fmt: skip
def test_a_request_that_is_none_is_refused(method, changed, why):
    headers = {name: it for name, it in (ASKS | changed).items() if it is not None}
    assert why in handshake.fault_of(method, headers)


@pytest.mark.parametrize(
    ("offered", "spoken"),
    [("", ""), ("mqtt", "mqtt"), ("x, mqttv3.1,mqtt", "mqttv3.1"), ("x", None), (" , ", "")],
)
def test_of_the_subprotocols_one_that_both_speak_is_taken(offered, spoken):
    headers = {"sec-websocket-protocol": offered}
    assert handshake.chosen(headers, ("mqtt", "mqttv3.1")) == spoken


def test_the_codes_are_those_of_the_rfc():
    assert {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011} <= reading._CODES
    assert not reading._CODES & {1004, 1005, 1006, 1015}
