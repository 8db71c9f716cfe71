"""Messages together are what they are one by one, whether they are alike or not."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from logstore.broker.mqtt.line import Sent
from logstore.broker.mqtt.message import About
from logstore.counts.mqtt import MqttCounts
from logstore.mqtt import writing
from logstore.mqtt.kinds import V5, V311
from logstore.protocols.mqtt import deliver
from logstore.protocols.mqtt.form import Forms

ABOUT = About(content_type=b"text/plain")

one = st.builds(
    lambda topic, payload, qos, pid, dup, retain, ids, about: Sent(
        topic, payload, qos, pid if qos else 0, bool(qos) and dup, retain, ids, about
    ),
    st.sampled_from([b"a", b"a/b"]),
    st.binary(max_size=3),
    st.integers(0, 2),
    st.integers(1, 65_535),
    st.booleans(),
    st.booleans(),
    st.sampled_from([(), (7,)]),
    st.sampled_from([None, ABOUT]),
)
alike = st.builds(
    lambda it, rest: [it._replace(pid=pid if it.qos else 0, payload=body) for pid, body in rest],
    one,
    st.lists(st.tuples(st.integers(1, 65_535), st.binary(max_size=2)), min_size=1, max_size=9),
)


def sent(those, version, most):
    counts = MqttCounts()
    written = []
    of = SimpleNamespace(
        door=SimpleNamespace(
            counts=counts,
            totals=SimpleNamespace(messages_out=0),
            forms=Forms(lambda: 0),
            clock=lambda: 0,
        ),
        come=SimpleNamespace(packet_bytes_max=most),
        version=version,
        put=written.append,
        link=SimpleNamespace(wake=lambda: None),
    )
    too_long = deliver.messages(of, those)
    assert of.door.totals.messages_out == sum(counts.sent) == len(those) - len(too_long)
    return b"".join(written), list(too_long), counts.sent


@given(st.lists(one, min_size=1, max_size=6) | alike, st.sampled_from([V311, V5]), st.data())
def test_together_as_one_by_one(those, version, data):
    most = data.draw(st.sampled_from([0, 0, 12, 1000]))
    alone = [sent([it], version, most) for it in those]
    written, too_long, counted = sent(those, version, most)
    assert written == b"".join(it[0] for it in alone)
    assert too_long == [pid for it in alone for pid in it[1]]
    assert counted == [sum(it[2][qos] for it in alone) for qos in range(3)]


def test_one_is_as_the_codec_writes_it():
    it = Sent(b"a/b", b"x", 1, 5, True, False, (), None)
    packet = writing.publish(b"a/b", b"x", flags=writing.flags(1, dup=True), pid=5)
    assert sent([it], V311, 0)[0] == packet
    assert sent([it] * 3, V311, 0)[0] == packet * 3
