"""Routing keys made of records."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.queues.crossing.key_template import KEY_BYTES_MAX, KeyTemplate
from logstore.errors import Refused
from logstore.records.record import Record


def record(key=b"k", headers=(), topic="flights", partition=3):
    return Record(topic, partition, 7, 0, key, b"v", headers)


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("{key}", b"k"), ("", b""), ("fixed", b"fixed"), ("{topic}.{partition}", b"flights.3"),
        ("{header:carrier}.{key}", b"LH.k"), ("{{{key}}}", b"{k}"), ("a{{b}}", b"a{b}"),
        ("{header:none}.{key}", b".k"), ("{header:none|x.y}.{key}", b"x.y.k"),
        ("{header:null}!", b"!"), ("{header:null|n}", b"n"), ("{header:twice}", b"2"),
        ("{header:a|b|c}", b"b|c"), ("{header:x:y}", b"colon"), ("é{key}", "é".encode() + b"k"),
        ("{header:carrier|}", b"LH"), ("{header:none|}", b""),
    ],
)  # fmt: skip
def test_a_template_is_filled_from_the_record(template, key):
    headers = (
        ("carrier", b"LH"), ("null", None), ("twice", b"1"), ("twice", b"2"), ("x:y", b"colon")
    )  # fmt: skip
    assert KeyTemplate(template).key(record(headers=headers)) == key


def test_what_is_missing_has_the_fallback_as_routing_key():
    template = KeyTemplate("{header:carrier}.{key}", "unknown")
    assert template.key(record()) == b"unknown"
    assert template.key(record(key=None, headers=(("carrier", b"LH"),))) == b"unknown"
    assert template.key(record(headers=(("carrier", b"LH"),))) == b"LH.k"
    assert KeyTemplate("{key}", "none").key(record(key=None)) == b"none"
    assert KeyTemplate("{header:carrier|LH}", "unknown").key(record()) == b"LH"


def test_a_routing_key_that_is_too_long_is_the_fallback_or_empty():
    long = record(key=b"x" * 256)
    assert KeyTemplate("{key}").key(long) == b""
    assert KeyTemplate("a.{key}").key(long) == b""
    assert KeyTemplate("{key}", "long").key(long) == b"long"
    assert KeyTemplate("a.{key}", "long").key(long) == b"long"
    assert KeyTemplate("{key}").key(record(key=b"x" * 255)) == b"x" * 255


@pytest.mark.parametrize(
    "template",
    ["{", "}", "a}b", "{keys}", "{}", "{header:}", "{header}", "{key", "x" * 256, "{{" * 513,
     "\ud800", "{offset}", "{Key}", "{ key}"],
)  # fmt: skip
def test_what_is_no_template_is_refused_in_one_line(template):
    with pytest.raises(Refused) as refused:
        KeyTemplate(template)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("fallback", ["x" * 256, "\ud800"])
def test_what_is_no_fallback_is_refused(fallback):
    with pytest.raises(Refused):
        KeyTemplate("{key}", fallback)


@given(
    st.text(alphabet="{}|:keyhadrtopicn. ", max_size=20),
    st.none() | st.binary(max_size=300),
    st.none() | st.text(max_size=20),
)
def test_any_template_is_refused_or_makes_a_routing_key_of_any_record(template, key, fallback):
    try:
        compiled = KeyTemplate(template, fallback)
    except Refused:
        return
    assert len(compiled.key(record(key=key, headers=(("a", key),)))) <= KEY_BYTES_MAX
