"""Answers out of what a socket brings, however it is cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.cluster.frames import BYTES_MAX, Frames
from logstore.errors import BrokenProtocol


@given(st.lists(st.binary(max_size=300), max_size=20), st.data())
def test_whole_answers_come_out_whatever_the_pieces(answers, data):
    stream = b"".join(len(it).to_bytes(4) + it for it in answers)
    frames, found = Frames(memoryview(bytearray(128))), []
    while stream:
        room = frames.room()
        count = data.draw(st.integers(1, min(len(room), len(stream))))
        room[:count] = stream[:count]
        found += map(bytes, frames.taken(count))
        stream = stream[count:]
    assert found == answers


@pytest.mark.parametrize("size", [-1, BYTES_MAX + 1])
def test_a_size_that_is_none_is_refused(size):
    frames = Frames(memoryview(bytearray(128)))
    frames.room()[:4] = size.to_bytes(4, signed=True)
    with pytest.raises(BrokenProtocol):
        list(frames.taken(4))
