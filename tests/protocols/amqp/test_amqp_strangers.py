"""Whatever somebody sends who has not logged in: he is not let in, holds little, and is refused."""

import pytest
from amqp_grammar import nested
from amqp_users import Users, opened
from hypothesis import example, given
from hypothesis import strategies as st

from logstore.amqp import fields, frames, methods
from logstore.amqp.replies import INTERNAL_ERROR, NAMES
from logstore.protocols.amqp.phase import ENDING, Phase

HELD_MAX = 64 << 10  # bytes; a frame has 8 KiB before both have agreed on more
LARGEST = 2**31 - 1
GOOD = b"\0al\0secret"

RESPONSES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"\0al\0Secret", b"al\0al\0secret", b"\0\0", b"\0al\0", b"\0al\0secret\0"]),
    st.builds(
        lambda login, password: fields.table({"LOGIN": login, "PASSWORD": password})[4:],
        st.sampled_from(["al", "", b"al", 1, None, "x" * 300, nested(20)]),
        st.sampled_from(["", "Secret", b"secret", 1.5, True, nested(20)]),
    ),
).filter(lambda it: it != GOOD)
PROPERTIES = st.sampled_from([
    {}, {"capabilities": {"authentication_failure_close": True}}, {"capabilities": []},
    {"capabilities": {"authentication_failure_close": 1}}, {"x": nested(100)}, {"x" * 255: "y"},
])  # fmt: skip
STARTS = st.builds(
    methods.ConnectionStartOk, PROPERTIES,
    st.sampled_from(["PLAIN", "AMQPLAIN", "EXTERNAL", "", "plain", "\n\x1b[2J", "x" * 255]),
    RESPONSES, st.sampled_from(["en_US", "", "x"]),
)  # fmt: skip
OTHERS = st.sampled_from([
    methods.ConnectionTuneOk(0, 0, 0), methods.ConnectionOpen("/"), methods.ConnectionCloseOk(),
    methods.ConnectionUpdateSecret(b"secret", ""), methods.ConnectionSecureOk(GOOD),
    methods.ConnectionClose(200, "", 0, 0), methods.ChannelOpen(), methods.BasicQos(0, 1, False),
    methods.QueueDeclare(0, "q", False, False, False, False, False, {}),
    methods.BasicPublish(0, "", "q", False, False), methods.BasicAck(1, False),
])  # fmt: skip
NUMBERS = st.sampled_from([0, 0, 0, 1, 65_535])
FRAMES = st.one_of(
    st.builds(lambda method: frames.method_frame(0, method), STARTS),
    st.builds(frames.method_frame, NUMBERS, OTHERS),
    st.builds(
        lambda kind, number, size, payload: (
            bytes((kind,)) + number.to_bytes(2, "big") + size.to_bytes(4, "big") + payload
        ),
        st.sampled_from([0, 1, 2, 3, 8, 255]), NUMBERS,
        st.sampled_from([0, 1, 4, 20, 4096, 8185, LARGEST, 2**32 - 1]), st.binary(max_size=40),
    ),
    st.just(frames.HEARTBEAT_FRAME),
    st.binary(max_size=40),
)  # fmt: skip
HEADS = st.sampled_from([frames.PROTOCOL] * 8 + [b"AMQP\0\0\x09\1", b"AMQP\3\1\0\0", b"", b"A"])


@pytest.fixture(scope="module")
def users():
    return Users("al")


@pytest.fixture(scope="module")
def door(tmp_path_factory, users):
    made = users.door(tmp_path_factory.mktemp("strangers"))
    yield made
    made.close()


def check_refused(peer):
    """What he is told is what a server may say, and no more than he has to know."""
    for _, method, *_ in peer.all():
        if isinstance(method, methods.ConnectionClose):
            assert method.reply_code != INTERNAL_ERROR
            assert method.reply_text.startswith(NAMES[method.reply_code] + " - ")
            assert "secret" not in method.reply_text
        else:
            assert isinstance(method, (methods.ConnectionStart, methods.ConnectionCloseOk)), method


@example(True, frames.PROTOCOL, [b"\1\0\0\x7f\xff\xff\xff"] * 3, 0, True)
@example(True, frames.PROTOCOL, [frames.HEARTBEAT_FRAME * 10_000], 0, True)
@given(
    able=st.booleans(),
    head=HEADS,
    sent=st.lists(FRAMES, max_size=8),
    cut=st.integers(0, 60),
    at_once=st.booleans(),
)
def test_a_stranger_gets_nowhere(door, users, able, head, sent, cut, at_once):
    users.logins.at_once, users.logins.held = at_once, []
    peer = door.connect()
    data = head + b"".join(sent)
    for part in (data[:cut], data[cut:]):
        if part:
            peer.give(part)
        session = peer.session
        assert session.entry is None
        assert session.phase in (Phase.HEADER, Phase.HANDSHAKE, *ENDING)
        assert session.held_bytes < HELD_MAX
        assert not session.channels
    for answer in users.logins.held:
        answer()
    door.now += 60
    peer.look()
    door.now += 60
    peer.look()
    door.run()
    assert peer.session.closed is not None
    assert "secret" not in peer.session.closed
    if peer.got[:1] != b"A":  # else he was told what is spoken here
        check_refused(peer)
    peer.end()
    door.peers.remove(peer)
    users.logins.at_once = True


TOO_LARGE = b"\1\0\0\x7f\xff\xff\xff"  # no frame can be told behind it


@pytest.mark.parametrize(
    "method", [methods.ChannelOpen(), methods.QueueDeclare(0, "q", *[False] * 5, {}),
               methods.ConnectionUpdateSecret(b"", "")],
)  # fmt: skip
@pytest.mark.parametrize("number", [0, 1])
def test_nothing_is_taken_behind_what_can_be_no_frame(door, users, method, number):
    """A channel could be opened there, by whoever had not logged in."""
    users.permit("al", ".*", ".*", ".*")
    for peer in (door.connect(), opened(door), opened(door)):
        if peer.session.entry is None:
            peer.give(frames.PROTOCOL)
        else:
            peer.ask(methods.ChannelOpen(), 2)
        if peer is door.peers[-1]:  # it is closing already
            peer.send(methods.BasicQos(0, 1, False), channel=7)
        peer.give(TOO_LARGE)
        peer.methods()
        for _ in range(2):
            peer.send(method, channel=number)
            door.run()
            assert (peer.methods(), peer.session.channels) == ([], {})
        peer.send(methods.ConnectionCloseOk(), channel=0)
        assert peer.session.closed is not None
        peer.end()
    door.peers.clear()
    users.forget_rules()
