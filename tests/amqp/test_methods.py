"""Methods of AMQP: as pamqp has them, and whatever a peer sends."""

import re
from contextlib import suppress
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands as oracle

from logstore.amqp import methods
from logstore.amqp.frames import METHOD, body_frames, frame, method_frame
from logstore.amqp.methods import BIT, IDS, LONG, LONGLONG, METHODS, OCTET, SHORT, SHORTSTR, TABLE
from logstore.amqp.replies import Refusal

# What there may be in each field.
DRAWN = {
    OCTET: st.integers(0, 255), SHORT: st.integers(0, 2**16 - 1), LONG: st.integers(0, 2**32 - 1),
    LONGLONG: st.integers(0, 2**63 - 1), SHORTSTR: st.text("abc.#*:", max_size=100),
    methods.LONGSTR: st.binary(max_size=100), BIT: st.booleans(),
    TABLE: st.dictionaries(st.text(max_size=20), st.text() | st.booleans(), max_size=3),
}  # fmt: skip


def wires(method):
    return {
        name: hint.__metadata__[0]
        for name, hint in get_type_hints(method, include_extras=True).items()
    }


def instances(method):
    return st.builds(method, **{name: DRAWN[wire] for name, wire in wires(method).items()})


EACH = pytest.mark.parametrize("method", METHODS.values(), ids=lambda it: it.__name__)


@EACH
@given(st.data())
def test_a_method_is_read_as_it_was_written(method, data):
    drawn = data.draw(instances(method))
    found = methods.decode(methods.encode(drawn))
    assert found == drawn
    assert type(found) is method


@EACH
def test_a_method_has_the_number_and_the_fields_that_others_give_it(method):
    class_id, method_id = IDS[method]
    known = oracle.INDEX_MAPPING.get(class_id << 16 | method_id)
    if known is None:
        pytest.skip("pamqp does not have it")
    assert known.name.replace(".", "") == re.sub(r"(?<=.)Async", "Async", method.__name__)
    theirs = [known.amqp_type(it) for it in known.attributes()]
    names = {
        OCTET: "octet", SHORT: "short", LONG: "long", LONGLONG: "longlong", SHORTSTR: "shortstr",
        methods.LONGSTR: "longstr", BIT: "bit", TABLE: "table",
    }  # fmt: skip
    assert [names[it] for it in wires(method).values()] == theirs


@given(st.sampled_from(sorted(METHODS)), st.binary(max_size=80))
def test_garbage_is_refused_or_read(ids, data):
    payload = ids[0].to_bytes(2, "big") + ids[1].to_bytes(2, "big") + data
    with suppress(Refusal):
        methods.encode(methods.decode(payload))


@pytest.mark.parametrize(("payload", "code"), [(b"\0\x0a\0\x63", 540), (b"\0\x63\0\1", 503),
                                               (b"", 502), (b"\0\x0a\0", 502)])  # fmt: skip
def test_what_is_no_method_is_refused(payload, code):
    with pytest.raises(Refusal) as found:
        methods.decode(payload)
    assert found.value.code == code


def test_a_short_string_of_more_than_255_bytes_is_not_written():
    with pytest.raises(ValueError, match="bytes must be in range"):
        methods.encode(methods.BasicConsumeOk("é" * 128))


@given(st.binary(max_size=50_000), st.integers(4096, 20_000))
def test_a_body_is_cut_into_frames_that_fit(body, frame_max):
    frames = body_frames(7, body, frame_max)
    assert all(len(it) <= frame_max and it[-1] == 0xCE for it in frames)
    assert b"".join(it[7:-1] for it in frames) == body


def test_a_frame_is_as_the_specification_draws_it():
    assert frame(METHOD, 258, b"ab") == b"\1\1\2\0\0\0\2ab\xce"
    assert method_frame(0, methods.ConnectionCloseOk()) == b"\1\0\0\0\0\0\4\0\x0a\0\x33\xce"
