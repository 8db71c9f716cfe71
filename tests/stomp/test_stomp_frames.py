"""Frames of STOMP as bytes: any split of them gives the same, and nothing else ever happens."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.records.encode import Pieces
from logstore.stomp import reading
from logstore.stomp.faults import BadFrame
from logstore.stomp.frames import Frame, header_lines, read_head, written
from logstore.stomp.reading import Reader
from logstore.stomp.versions import FIRST, RULES, V1_0, V1_1, V1_2, VERSIONS, common

BODY_MAX = 1 << 16
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
VERSION = st.sampled_from(VERSIONS)


def reader(version=None, most=BODY_MAX):
    made = Reader(most)
    if version is not None:
        made.speak(RULES[version])
    return made


def frames_of(made, pieces):
    """All frames that come of these, as the server would give them."""
    found, left = [], b""
    for piece in pieces:
        raw, at = left + piece, 0
        while True:
            frame, at = made.next(raw, at)
            if frame is None:
                break
            found.append(frame)
        left = raw[at:]
    return found


def all_of(raw, version=V1_2):
    return frames_of(reader(version), [raw])


def splits(raw, cuts):
    at = [0, *sorted(it % (len(raw) + 1) for it in cuts), len(raw)]
    return [raw[a:b] for a, b in pairwise(at)]


def test_a_frame_without_headers_and_body():
    assert all_of(b"DISCONNECT\n\n\0") == [Frame("DISCONNECT", {})]


def test_line_ends_may_have_carriage_returns_in_every_version():
    raw = b"SEND\r\ndestination:/queue/a\r\ncontent-length:2\r\n\r\nhi\0\r\n"
    for version in VERSIONS:
        [frame] = all_of(raw, version)
        assert frame == ("SEND", {"destination": "/queue/a", "content-length": "2"}, b"hi")


def test_an_empty_line_with_a_carriage_return_ends_the_head_before_one_in_the_body():
    [frame] = all_of(b"SEND\r\na:b\r\n\r\nx\n\ny\0")
    assert frame == ("SEND", {"a": "b"}, b"x\n\ny")


def test_of_a_repeated_header_the_first_counts():
    [frame] = all_of(b"SEND\nfoo:World\nfoo:Hello\n\n\0")
    assert frame.headers == {"foo": "World"}


def test_line_ends_and_nuls_between_frames_are_nothing():
    raw = b"\n\n\r\n\0\nBEGIN\ntransaction:t\n\n\0\n\n\nABORT\ntransaction:t\n\n\0"
    assert [it.command for it in all_of(raw)] == ["BEGIN", "ABORT"]


def test_a_body_with_a_length_may_hold_nuls():
    [frame] = all_of(b"SEND\ncontent-length:3\n\na\0b\0")
    assert frame.body == b"a\0b"


def test_a_body_without_a_length_ends_at_the_first_nul():
    assert [it.body for it in all_of(b"SEND\n\nab\0\nSEND\n\n\0")] == [b"ab", b""]


def test_a_length_that_is_no_number_is_as_if_it_were_not_said():
    assert [it.body for it in all_of(b"SEND\ncontent-length:x\n\nab\0")] == [b"ab"]


def test_the_length_that_clients_copy_into_an_ack_is_not_believed():
    raw = b"ACK\nid:1\ncontent-length:5000\n\n\0NACK\nid:2\n\n\0"
    assert [it.command for it in all_of(raw)] == ["ACK", "NACK"]


@pytest.mark.parametrize(
    ("version", "value"),
    [
        (V1_0, "a\\cb\\nc\\\\"),
        (V1_1, "a:b\nc\\"),
        (V1_2, "a:b\nc\\"),
    ],
)
def test_what_a_backslash_means_depends_on_the_version(version, value):
    [frame] = all_of(b"SEND\nx:a\\cb\\nc\\\\\n\n\0", version)
    assert frame.headers == {"x": value}


@pytest.mark.parametrize("escape", [b"\\t", b"\\", b"\\r"])
def test_an_escape_that_1_1_does_not_know_is_fatal(escape):
    with pytest.raises(BadFrame, match="no escape in headers"):
        all_of(b"SEND\nx:a" + escape + b"\n\n\0", V1_1)


def test_1_2_knows_the_carriage_return_as_an_escape_alone():
    assert all_of(b"SEND\nx:a\\rb\n\n\0")[0].headers == {"x": "a\rb"}
    with pytest.raises(BadFrame, match="a carriage return within the header 'x'"):
        all_of(b"SEND\nx:a\rb\n\n\0")
    assert all_of(b"SEND\nx:a\rb\n\n\0", V1_1)[0].headers == {"x": "a\rb"}


def test_a_passcode_with_colons_and_backslashes_is_taken_as_it_stands():
    raw = b"CONNECT\naccept-version:1.2\npasscode:a:b\\n\\x\n\n\0"
    assert frames_of(reader(), [raw])[0].headers["passcode"] == "a:b\\n\\x"
    assert all_of(raw, V1_2)[0].headers["passcode"] == "a:b\\n\\x"


def test_values_keep_their_blanks_from_1_1_on():
    assert all_of(b"SEND\nx:  a \n\n\0", V1_0)[0].headers == {"x": "a "}
    assert all_of(b"SEND\nx:  a \n\n\0", V1_1)[0].headers == {"x": "  a "}


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"SEND\nnonsense\n\n\0", "a header without a colon in SEND: 'nonsense'"),
        (b"SEND\n:x\n\n\0", "a header without a name"),
        (b"SEND\n" + b"a:b\n" * 1001 + b"\n\0", "a frame of 1001 headers: at most 1000"),
        (b"SEND\nx:" + b"a" * 70_000, "headers take at most 65536 bytes"),
        (b"SEND\n" + b"a:b\n" * 20_000, "headers take at most 65536 bytes"),
        (b"A" * 40, "no command of STOMP: 'AAAAAAAA"),
        (b"BEGIN\ntransaction:t\0", "a frame without an empty line"),
        (b"SEND\ncontent-length:-1\n\n\0", "a body of -1 bytes"),
        (b"SEND\ncontent-length:99999\n\n", "a body of 99999 bytes: at most 65536 are allowed"),
        (b"SEND\ncontent-length:" + b"9" * 4000 + b"\n\n", "at most 65536 are allowed"),
        (b"SEND\n\n" + b"x" * 70_000, "a body of 70000 bytes: at most 65536 are allowed"),
        (b"ACK\nid:1\n\n" + b"x" * 70_000, "a body of 70000 bytes: at most 65536 are allowed"),
        (b"SEND\ncontent-length:2\n\nabc\0", "no NUL behind the 2 bytes of a body"),
    ],
)
def test_what_is_no_frame_is_refused_in_one_line(raw, why):
    with pytest.raises(BadFrame) as refused:
        all_of(raw)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_long_body_is_taken_in_pieces_as_it_comes():
    body = b"0123456789abcde\0" * (1 << 17)
    raw = b"SEND\ncontent-length:%d\n\n%b\0" % (len(body), body)
    pieces = [raw[at : at + 200_000] for at in range(0, len(raw), 200_000)]
    made = reader(V1_2, 1 << 22)
    frame, _ = made.next(pieces[0], 0)
    assert frame is None
    assert made.held_bytes > 199_000
    [frame] = frames_of(made, pieces[1:])
    assert isinstance(frame.body, Pieces)
    assert bytes(frame.body) == body
    assert made.held_bytes <= reading.HEAD_BYTES_KEPT


def test_a_body_byte_by_byte_is_not_a_piece_a_byte():
    made = reader(V1_2)
    frame, at = made.next(b"SEND\n\n", 0)
    assert (frame, at) == (None, 6)
    for _ in range(reading.PIECE_BYTES - 1):
        made.next(b"x", 0)
    assert not made._body._parts
    made.next(b"x", 0)
    assert len(made._body._parts) == 1
    assert made.next(b"\0", 0)[0].body == b"x" * reading.PIECE_BYTES


def test_a_head_that_grows_is_not_searched_from_its_beginning(monkeypatch):
    """A header a byte at a time: the bytes that are looked at are as many as there are."""

    class Counting(bytes):
        looked = 0

        def find(self, what, start=0, end=None):
            end = len(self) if end is None else end
            if what in (b"\n\n", b"\0"):
                Counting.looked += max(0, end - start)
            return bytes.find(self, what, start, end)

    made, raw = reader(V1_2), b"SEND\nx:" + b"a" * 2000
    for upto in range(1, len(raw)):
        made.next(Counting(raw[:upto]), 0)
    assert Counting.looked < 10 * len(raw)


def test_a_body_with_a_length_is_waited_for_as_a_whole():
    made, raw = reader(V1_2), b"SEND\ncontent-length:1000\n\n" + b"x" * 1000 + b"\0"
    assert made.next(raw[:100], 0) == (None, 0)
    assert made.wants == len(raw)


HEADERS = st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=5)


@given(VERSION, st.sampled_from(["SEND", "MESSAGE"]), HEADERS, st.binary(max_size=40))
def test_what_is_written_is_read_again(version, command, headers, body):
    if version == V1_0:  # it has no escapes: of what can't be said something similar is
        headers = {
            n.replace("\n", "").replace("\r", "").replace(":", "") or "n": v.strip()
            .replace("\n", "").replace("\r", "")
            for n, v in headers.items()
        }  # fmt: skip
        headers = {n: v for n, v in headers.items() if v == v.lstrip()}
    if version == V1_1:  # a line end of its own
        headers = {n: v.removesuffix("\r").rstrip("\r") for n, v in headers.items()}
    headers.pop("content-length", None)
    raw = written(command, headers.items(), body, RULES[version])
    if command != "SEND":
        body = body.partition(b"\0")[0]
        raw = written(command, headers.items(), b"", RULES[version])[:-1] + body + b"\0"
        body = b""
    [frame] = all_of(raw, version)
    read = dict(frame.headers)
    read.pop("content-length", None)
    assert (frame.command, read, frame.body) == (command, headers, body)


@given(st.lists(st.integers(0, 500), max_size=8))
def test_any_split_of_the_bytes_gives_the_same_frames(cuts):
    raw = (
        b"CONNECT\naccept-version:1.2\n\n\0\n\nSEND\ndestination:/queue/a\ncontent-length:6\n\n"
        b"a\0b\n\nc\0\r\nSEND\r\nx:y\\c\r\n\r\nopen\n\nend\0\n\0ACK\nid:1\ncontent-length:9\n\n\0"
        b"BEGIN\ntransaction:t\n\nbody that nobody reads\0"
    )
    assert frames_of(reader(V1_2), splits(raw, cuts)) == all_of(raw)


@given(st.lists(st.sampled_from([
    b"SEND", b"CONNECT", b"ACK", b"\n", b"\r\n", b"\0", b":", b"\\", b"\\n", b"\\x", b"a", b"\xff",
    b"content-length", b"content-length:3", b"\n\n", b"9" * 30, b"x" * 40,
]), max_size=30), st.lists(st.integers(0, 500), max_size=3), VERSION)  # fmt: skip
def test_garbage_is_a_frame_nothing_yet_or_refused(parts, cuts, version):
    raw = b"".join(parts)

    def outcome(pieces):
        try:
            return frames_of(reader(version), pieces)
        except BadFrame as error:
            return None if "\n" not in str(error) else error

    whole, split = outcome([raw]), outcome(splits(raw, cuts))
    assert not isinstance(whole, BadFrame)
    if whole is not None and split is not None:
        assert whole == split


@given(st.binary(max_size=200))
def test_no_header_that_is_written_ends_another_one(value):
    """However hostile a sender is: what a receiver reads has the headers that were written."""
    for version in VERSIONS:
        name = value.decode("utf-8", "surrogateescape")
        lines = header_lines([("a" + name, name), ("b", "c")], RULES[version])
        assert lines.count(b"\n") == 2
        assert b"\0" not in lines
        if version != V1_0:
            # A carriage return at the end of a line of 1.1 is a part of its end.
            _, read = read_head(b"MESSAGE\n" + lines[:-1], RULES[version])
            assert read["b"] == "c"
            assert len(read) == 2


@pytest.mark.parametrize(
    ("accepted", "version"),
    [
        (None, V1_0), ("1.0", V1_0), ("1.1,1.2", V1_2), ("1.2, 1.0", V1_2), ("1.1", V1_1),
        ("1.0,1.3", V1_0), ("1.3", None), ("", None), ("2.0", None),
    ],
)  # fmt: skip
def test_the_highest_common_version_is_spoken(accepted, version):
    assert common(accepted) == version


def test_before_there_is_a_version_nothing_is_an_escape():
    assert read_head(b"SEND\nx:\\t", FIRST) == ("SEND", {"x": "\\t"})
