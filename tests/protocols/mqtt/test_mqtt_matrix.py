"""Every packet of an MQTT client, sent by nobody, with a wrong password, by users without the right
and with it: made from the tables of packets and of what each act asks.

A packet or an act of which the samples know nothing fails here.
"""

from typing import NamedTuple

import pytest
from amqp_users import DELAY_S, Users
from mqtt_kit import VERSIONS, Door, connect

from logstore.access.resources import CHANNEL, EXCHANGE, READ, WRITE
from logstore.kept.users import GLOB, LITERAL, KeptPermission, KeptRule, KeptUser
from logstore.mqtt import kinds, packets
from logstore.mqtt.kinds import V5
from logstore.mqtt.packets import Ack, Disconnect, Options, Ping, Publish, Will
from logstore.mqtt.properties import NONE, Properties
from logstore.protocols.mqtt.permits import ASKS, PUBLISH, SUBSCRIBE, WILL

OF_SERVERS = {kinds.CONNACK, kinds.SUBACK, kinds.UNSUBACK, kinds.PINGRESP}
ASKING = {"user": b"al", "password": b"secret"}


class Sample(NamedTuple):
    """One packet, by which something is done that can be seen."""

    kind: int
    act: str | None  # of ``permits.ASKS``; None: it asks for no right
    packet: object  # None: the CONNECT itself
    will: Will | None = None
    wild: bool = False  # it names topics below "t"


SAMPLES = {
    "connect": Sample(kinds.CONNECT, None, None),
    "connect, will": Sample(kinds.CONNECT, WILL, None, Will(b"t", b"gone", 0, False)),
    "connect, retained will": Sample(kinds.CONNECT, WILL, None, Will(b"t", b"gone", 1, True)),
    "publish, qos 0": Sample(kinds.PUBLISH, PUBLISH, Publish(b"t", b"x")),
    "publish, qos 1": Sample(kinds.PUBLISH, PUBLISH, Publish(b"t", b"x", 1, pid=1)),
    "publish, qos 2": Sample(kinds.PUBLISH, PUBLISH, Publish(b"t", b"x", 2, pid=1)),
    "publish, retained": Sample(kinds.PUBLISH, PUBLISH, Publish(b"t", b"x", retain=True)),
    "publish, nothing retained": Sample(kinds.PUBLISH, PUBLISH, Publish(b"t", b"", retain=True)),
    "subscribe": Sample(kinds.SUBSCRIBE, SUBSCRIBE, packets.Subscribe(1, [(b"t", Options(1))])),
    "subscribe, wildcards": Sample(
        kinds.SUBSCRIBE, SUBSCRIBE, packets.Subscribe(1, [(b"t/+", Options(0))]), wild=True),
    "subscribe, shared": Sample(
        kinds.SUBSCRIBE, SUBSCRIBE, packets.Subscribe(1, [(b"$share/g/t", Options(0))])),
    "unsubscribe": Sample(kinds.UNSUBSCRIBE, None, packets.Unsubscribe(1, [b"t"])),
    "puback": Sample(kinds.PUBACK, None, Ack(kinds.PUBACK, 1)),
    "pubrec": Sample(kinds.PUBREC, None, Ack(kinds.PUBREC, 1)),
    "pubrel": Sample(kinds.PUBREL, None, Ack(kinds.PUBREL, 1)),
    "pubcomp": Sample(kinds.PUBCOMP, None, Ack(kinds.PUBCOMP, 1)),
    "pingreq": Sample(kinds.PINGREQ, None, Ping(kinds.PINGREQ)),
    "disconnect": Sample(kinds.DISCONNECT, None, Disconnect(0)),
    "auth": Sample(kinds.AUTH, None, packets.Auth(0x18, NONE)),
}  # fmt: skip
ASKED = [name for name, it in SAMPLES.items() if it.act is not None]
every = pytest.mark.parametrize("name", SAMPLES)
every_asked = pytest.mark.parametrize("name", ASKED)
in_both = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture(scope="module")
def users():
    return Users("al", "bo")


@pytest.fixture(scope="module")
def shared(tmp_path_factory, users):
    made = Door(tmp_path_factory.mktemp("shared"), access=users.access, logins=users.logins)
    yield made
    made.close()


@pytest.fixture
def door(shared, users):
    """As it was before there was anybody."""
    yield shared
    users.forget_rules()
    users.access.change(keep=[KeptUser("al")])
    clear(shared)
    shared.door.counts.refused = 0


def clear(door):
    for peer in door.peers:
        peer.end()
    door.peers.clear()
    door.run()
    door.model.published.clear()
    door.model.wills.there.clear()


def by_rule(users, operation, name):
    users.access.change(keep=[KeptRule("al", operation, CHANNEL, name, GLOB)])


def by_redis(users, operation, name):
    users.access.change(keep=[KeptUser("al", redis=f"on +@all resetchannels &{name}")])


def by_rabbit(users, operation, _):
    may = {WRITE: "^$", READ: "^$", operation: "^amq[.]topic$"}
    users.access.change(keep=[KeptPermission("al", "/", "^$", may[WRITE], may[READ])])


def spoken(version, sample):
    """Whether the version has it."""
    return sample.kind != kinds.AUTH or version == V5


def done(door, client="c"):
    """All that a packet may have done: what was published, wills, subscriptions."""
    session = door.node.sessions.of(client)
    heard = () if session is None else tuple(it for it, _ in session.grants)
    return list(door.model.published), dict(door.model.wills.there), heard


NOTHING = ([], {}, ())


def say(door, name, version, *, before=(), **given):
    """One connection that sends it; what it was answered."""
    sample = SAMPLES[name]
    peer = door.connect()
    peer.version = version
    peer.send(connect(version=version, will=sample.will, **given))
    if sample.packet is not None:
        peer.send(*before, sample.packet)
    door.run()
    door.later(DELAY_S + 0.01)
    return peer, peer.packets()


def is_refused(found):
    """Whether something that was answered says that a right lacks."""
    return any(
        it.reason == 0x87 if isinstance(it, Ack | Disconnect)
        else it.reason in (0x87, 5) if isinstance(it, packets.Connack)
        else isinstance(it, packets.Answers) and it.reasons in (b"\x87", b"\x80")
        for it in found
    )  # fmt: skip


def test_every_packet_of_a_client_and_every_act_has_a_sample():
    assert {it.kind for it in SAMPLES.values()} == set(kinds.NAMES) - OF_SERVERS
    assert {it.act for it in SAMPLES.values()} - {None} == set(ASKS)
    for it in SAMPLES.values():
        if it.packet is not None:
            assert packets.write(it.packet, V5)[0] >> 4 == it.kind


@in_both
@every
def test_nothing_is_done_for_who_has_not_said_connect(door, name, version):
    if SAMPLES[name].packet is None:
        return
    peer = door.connect()
    peer.version = version
    peer.send(SAMPLES[name].packet)
    door.run()
    assert (peer.over, peer.packets(), done(door)) == (True, [], NOTHING)


@in_both
@pytest.mark.parametrize("given", [{}, ASKING | {"password": b"other"}, ASKING | {"user": b"no"}])
@every
def test_nothing_is_done_for_who_has_not_logged_in(door, users, name, version, given):
    for it in ("al", "bo"):
        users.access.change(keep=[KeptRule(it, use, CHANNEL, "*") for use in (READ, WRITE)])
    if not spoken(version, SAMPLES[name]):
        return
    peer, found = say(door, name, version, **given)
    [refusal] = found
    assert isinstance(refusal, packets.Connack)
    assert (refusal.reason != 0, peer.over, done(door)) == (True, True, NOTHING)


@in_both
@every
def test_without_any_right_one_does_not_come_in(door, name, version):
    if spoken(version, SAMPLES[name]):
        peer, found = say(door, name, version, **ASKING)
        assert (is_refused(found[:1]), peer.over, done(door)) == (True, True, NOTHING)


@in_both
@every_asked
def test_without_its_right_it_is_refused_and_nothing_is_done(door, users, name, version):
    """With the other right, to the same topic; and with this one, to another."""
    own = ASKS[SAMPLES[name].act]
    other = READ if own == WRITE else WRITE
    for operation, topic in ((other, "*"), (own, "tt*")):
        by_rule(users, operation, topic)
        peer, found = say(door, name, version, **ASKING)
        quiet = isinstance(SAMPLES[name].packet, Publish) and not SAMPLES[name].packet.qos
        # What has no answer is not published; a client of 3.1.1 ends.
        assert quiet or peer.over or is_refused(found), (operation, topic)
        assert done(door) == NOTHING
        clear(door)
        users.forget_rules()
    assert door.door.counts.refused == 2 * (SAMPLES[name].kind == kinds.PUBLISH)


@in_both
@pytest.mark.parametrize("grant", [by_rule, by_redis, by_rabbit])
@every_asked
def test_its_right_is_enough_in_each_language(door, users, name, version, grant):
    sample = SAMPLES[name]
    grant(users, ASKS[sample.act], "t/*" if sample.wild else "t")
    peer, found = say(door, name, version, **ASKING)
    assert (is_refused(found), peer.over) == (False, False)
    assert done(door) != NOTHING


@in_both
@pytest.mark.parametrize("kind", [CHANNEL, EXCHANGE])
@every_asked
def test_a_rule_that_denies_wins(door, users, name, version, kind):
    sample = SAMPLES[name]
    by_rule(users, READ, "*")
    by_rule(users, WRITE, "*")
    object = "amq.topic" if kind == EXCHANGE else "t/a" if sample.wild else "t"
    denied = KeptRule("al", ASKS[sample.act], kind, object, LITERAL, allow=False)
    users.access.change(keep=[denied])
    peer, found = say(door, name, version, **ASKING)
    quiet = isinstance(sample.packet, Publish) and not sample.packet.qos
    assert quiet or peer.over or is_refused(found)
    assert done(door) == NOTHING


@in_both
@every
def test_what_asks_for_no_right_needs_none_but_to_be_in(door, users, name, version):
    sample = SAMPLES[name]
    if sample.act is not None or not spoken(version, sample):
        return
    by_rule(users, READ, "elsewhere")
    _, found = say(door, name, version, **ASKING)
    assert found[0].reason == 0
    assert not is_refused(found)


@in_both
@every
def test_who_may_do_everything_is_refused_nothing(door, name, version):
    if spoken(version, SAMPLES[name]):
        _, found = say(door, name, version, user=b"root", password=b"secret")
        assert not is_refused(found)


@in_both
def test_without_users_everyone_of_this_machine_may(tmp_path, version):
    door = Door(tmp_path)
    for name in SAMPLES:
        if spoken(version, SAMPLES[name]):
            _, found = say(door, name, version)
            assert not is_refused(found), name
            clear(door)
    door.close()


def test_a_property_or_an_alias_is_no_way_round(door, users):
    """What a packet says beside changes nothing of whose topic is asked for."""
    by_rule(users, WRITE, "mine")
    aliased = Publish(b"t", b"x", 1, pid=1, properties=Properties(topic_alias=1))
    again = Publish(b"", b"y", 1, pid=2, properties=Properties(topic_alias=1))
    elsewhere = Publish(b"mine", b"z", 1, pid=3, properties=Properties(response_topic="t"))
    peer, _ = door.come(**ASKING)
    found = peer.ask(aliased, again, elsewhere)
    assert [it.reason for it in found] == [0x87, 0x87, 0x10]
    assert [it.payload for it in door.model.published] == [b"z"]
