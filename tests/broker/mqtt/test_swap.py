"""Topics as routing keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.mqtt.swap import swap


@given(st.binary())
def test_it_is_its_own_reverse(name: bytes) -> None:
    assert swap(swap(name)) == name
    assert len(swap(name)) == len(name)


@pytest.mark.parametrize(
    ("topic", "key"),
    [
        (b"a/b", b"a.b"), (b"foo.bar/baz", b"foo/bar.baz"), (b"a/+/#", b"a.*.#"),
        (b"user@domain/tld", b"user@domain.tld"), (b"spBv1.0/g/NBIRTH/n", b"spBv1/0.g.NBIRTH.n"),
        (b"/", b"."), (b"a*b", b"a+b"),
    ],
)  # fmt: skip
def test_topics_and_their_keys(topic: bytes, key: bytes) -> None:
    assert swap(topic) == key
    assert swap(key) == topic
