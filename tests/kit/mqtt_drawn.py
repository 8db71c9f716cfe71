"""Packets of MQTT as Hypothesis draws them: what may travel, in either version."""

from hypothesis import strategies as st

from logstore.mqtt import kinds, packets, reasons
from logstore.mqtt.kinds import V5
from logstore.mqtt.properties import NONE, ROWS, WILL, Properties, Wire

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
TOPICS = (
    st.text(st.characters(exclude_characters="\0+#", exclude_categories=["Cs"]), min_size=1)
    .map(str.encode)
    .filter(lambda it: len(it) < 300)
)
FILTERS = st.sampled_from([b"#", b"+", b"a/+/b", b"a/#", b"/", b"$share/g/a/#"]) | TOPICS
PIDS = st.integers(1, 0xFFFF)
PAYLOADS = st.binary(max_size=300)
ACKS = (kinds.PUBACK, kinds.PUBREC, kinds.PUBREL, kinds.PUBCOMP)
VERSIONS = st.sampled_from([kinds.V311, V5])

_DRAWN = {
    Wire.BYTE: st.integers(0, 1), Wire.TWO: st.integers(0, 0xFFFF),
    Wire.FOUR: st.integers(0, 0xFFFFFFFF), Wire.VARINT: st.integers(1, 268_435_455),
    Wire.TEXT: TEXTS, Wire.BINARY: st.binary(max_size=20), Wire.PAIR: st.tuples(TEXTS, TEXTS),
}  # fmt: skip


def value_of(row):
    """A value that the row permits."""
    drawn = _DRAWN[row.wire]
    return drawn.filter(lambda it: it >= row.least) if row.least else drawn


@st.composite
def properties_of(draw, packet, *, without=()):
    """Some of the packet's possible properties."""
    found = {}
    for row in ROWS:
        if packet not in row.packets or row.name in without or not draw(st.booleans()):
            continue
        if packet in row.many:
            found[row.name] = tuple(draw(st.lists(value_of(row), min_size=1, max_size=3)))
        elif row.name == "subscription_ids":
            found[row.name] = (draw(value_of(row)),)
        else:
            found[row.name] = draw(value_of(row))
    if "authentication_data" in found:
        found.setdefault("authentication_method", "x")
    return Properties(**found) if found else NONE


def some_properties(version, packet, **more):
    return properties_of(packet, **more) if version == V5 else st.just(NONE)


@st.composite
def connects(draw, version):
    will = None
    if draw(st.booleans()):
        will = packets.Will(
            draw(TOPICS), draw(PAYLOADS), draw(st.integers(0, 2)), draw(st.booleans()),
            draw(some_properties(version, WILL)),
        )  # fmt: skip
    user = draw(st.none() | TEXTS.map(str.encode))
    password = (
        draw(st.none() | st.binary(max_size=20)) if user is not None or version == V5 else None
    )
    return packets.Connect(
        version, draw(st.booleans()), draw(st.integers(0, 0xFFFF)), draw(TEXTS), will, user,
        password, draw(some_properties(version, kinds.CONNECT)),
    )  # fmt: skip


@st.composite
def publishes(draw, version, topics=TOPICS):
    qos = draw(st.integers(0, 2))
    return packets.Publish(
        draw(topics), draw(PAYLOADS), qos, draw(st.booleans()),
        bool(qos) and draw(st.booleans()), draw(PIDS) if qos else 0,
        draw(some_properties(version, kinds.PUBLISH)),
    )  # fmt: skip


def _said(kind, version):
    return st.sampled_from(sorted(reasons.OF[kind])) if version == V5 else st.just(0)


@st.composite
def acks(draw, version, kind=None):
    kind = kind or draw(st.sampled_from(ACKS))
    return packets.Ack(
        kind, draw(PIDS), draw(_said(kind, version)), draw(some_properties(version, kind))
    )


@st.composite
def subscribes(draw, version):
    options = st.builds(
        packets.Options, st.integers(0, 2), st.booleans(), st.booleans(), st.integers(0, 2)
    ) if version == V5 else st.integers(0, 2).map(packets.Options)  # fmt: skip
    return packets.Subscribe(
        draw(PIDS), draw(st.lists(st.tuples(FILTERS, options), min_size=1, max_size=5)),
        draw(some_properties(version, kinds.SUBSCRIBE)),
    )  # fmt: skip


@st.composite
def unsubscribes(draw, version):
    found = draw(some_properties(version, kinds.UNSUBSCRIBE))
    return packets.Unsubscribe(draw(PIDS), draw(st.lists(FILTERS, min_size=1, max_size=5)), found)


@st.composite
def answers(draw, version):
    kind = draw(st.sampled_from([kinds.SUBACK, kinds.UNSUBACK]))
    said = st.lists(st.sampled_from(sorted(reasons.OF[kind])), min_size=1, max_size=5)
    if version != V5:
        said = st.lists(st.sampled_from([0, 1, 2, 0x80]), min_size=1)
        said = said if kind == kinds.SUBACK else st.just([])
    return packets.Answers(
        kind, draw(PIDS), bytes(draw(said)), draw(some_properties(version, kind))
    )


@st.composite
def connacks(draw, version):
    reason = _said(kinds.CONNACK, version) if version == V5 else st.integers(0, 5)
    return packets.Connack(
        draw(st.booleans()), draw(reason), draw(some_properties(version, kinds.CONNACK))
    )


@st.composite
def disconnects(draw, version):
    return packets.Disconnect(
        draw(_said(kinds.DISCONNECT, version)), draw(some_properties(version, kinds.DISCONNECT))
    )


@st.composite
def auths(draw):
    return packets.Auth(draw(_said(kinds.AUTH, V5)), draw(properties_of(kinds.AUTH)))


PINGS = st.sampled_from([packets.Ping(kinds.PINGREQ), packets.Ping(kinds.PINGRESP)])


def any_of(version):
    """A packet of any kind."""
    found = (
        connects(version), connacks(version), publishes(version), acks(version),
        subscribes(version), unsubscribes(version), answers(version), PINGS, disconnects(version),
    )  # fmt: skip
    return st.one_of(*found, auths()) if version == V5 else st.one_of(*found)


def of_clients(version):
    """A packet that a connected client sends."""
    return st.one_of(
        publishes(version), acks(version), subscribes(version), unsubscribes(version),
        st.just(packets.Ping(kinds.PINGREQ)), disconnects(version),
    )  # fmt: skip
