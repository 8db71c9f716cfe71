"""The entry of a client: its CONNECT, its identity, its rights, its session."""

from typing import Final

from logstore.access.audit import LOGIN, REFUSED
from logstore.access.identity import Identity
from logstore.access.quotas import Seat
from logstore.broker.mqtt.sessions import Connected, Wanted
from logstore.broker.mqtt.wills import Will
from logstore.broker.queues.pending import Pending, both
from logstore.errors import LogstoreError, Refused
from logstore.mqtt import kinds, packets, reasons
from logstore.mqtt.fields import read_varint
from logstore.mqtt.kinds import V5
from logstore.mqtt.packets import Connack, Connect
from logstore.mqtt.properties import NONE, Properties
from logstore.mqtt.reasons import Broken
from logstore.printable import printable
from logstore.protocols.mqtt import retaining
from logstore.protocols.mqtt.carrier import Carrier
from logstore.protocols.mqtt.connect import answer, come
from logstore.protocols.mqtt.door import Model, about_of
from logstore.protocols.mqtt.permits import Permits
from logstore.protocols.mqtt.phase import Phase
from logstore.protocols.mqtt.subscribe import reviewing
from logstore.protocols.rabbit_login import (
    EXTERNAL,
    Admitted,
    TurnedAway,
    Way,
    by_certificate,
    by_password,
    is_local,
)

DOOR: Final = "mqtt"
PLAIN: Final = "PLAIN"  # the mechanism with a name and a password
WINDOW_MAX: Final = 65_535


# The first packet


def hear(of: Carrier, raw: bytes) -> None:
    """Process a whole CONNECT. Raises Broken."""
    found = read_varint(raw, 1, len(raw))
    assert found is not None
    body = raw[found[1] :]
    if not _speaks(of, body):
        return
    connect = packets.read(raw[0], body, V5)
    assert isinstance(connect, Connect)
    of.come = come(connect, of.door.rules, of.door.new_id)
    _log_in(of, connect)


def _speaks(of: Carrier, body: bytes) -> bool:
    """Whether the protocol version is supported; otherwise the client is refused."""
    level = packets.level_of(body)
    if level is None:
        of.end("a CONNECT packet ends within a field")
        return False
    of.version = level.level if level.is_known else kinds.V311
    if level.is_known:
        return True
    if level.name not in (b"MQTT", b"MQIsdp"):  # [MQTT-3.1.2-1]
        of.end(f"it speaks no MQTT, but {printable(repr(level.name))}")
        return False
    if level.level > V5:
        of.version = V5  # whatever is newer understands that
    of.refuse(
        Broken(
            reasons.UNSUPPORTED_VERSION,
            f"it speaks level {level.level} of the protocol; here are 4 (3.1.1) and 5",
        )
    )
    return False


def too_large(of: Carrier, head: bytes, most: int) -> None:
    """Refuse a CONNECT that exceeds the maximum size; ``head`` is its beginning."""
    found = read_varint(head, 1, len(head))
    assert found is not None
    level = packets.level_of(head[found[1] :])
    if level is not None and level.is_known:
        of.version = level.level
    of.refuse(Broken(reasons.TOO_LARGE, f"a CONNECT of {sum(found)} bytes: {most} are the most"))


def refusal(broken: Broken, version: int) -> bytes:
    """The CONNACK of a refusal; b"" if the version has no code for it, and the connection ends."""
    if version == V5:
        code = broken.code if broken.code in reasons.OF[kinds.CONNACK] else reasons.UNSPECIFIED
        return packets.write(Connack(False, code, Properties(reason_string=str(broken))), V5)
    code = reasons.RETURN_CODES.get(broken.code, 0)
    return packets.write(Connack(False, code), version) if code else b""


# Who it is


def _log_in(of: Carrier, connect: Connect) -> None:
    door, link = of.door, of.link
    host = link.peer_address[0]
    if not door.access.required:
        if door.insecure or is_local(host):
            _logged_in(of, PLAIN, Admitted(Identity("", host, "", DOOR), ""))
        else:
            of.refuse(Broken(
                reasons.NOT_AUTHORIZED,
                "it comes from another machine, and there are no users: add a user, or see"
                " listen.insecure",
            ))  # fmt: skip
        return
    if connect.user is None and door.certified(link) is not None:
        _logged_in(of, EXTERNAL, by_certificate(door, link, Way(DOOR, EXTERNAL)))
    elif connect.user is None:
        of.refuse(
            Broken(reasons.NOT_AUTHORIZED, "it gives no user name, although there are users"),
            delay_s=door.logins.failed(host),
        )
    else:
        name, password = connect.user, connect.password or b""
        by_password(
            door, link, Way(DOOR, PLAIN), name, password, lambda it: _logged_in(of, PLAIN, it)
        )


def _logged_in(of: Carrier, mechanism: str, it: Admitted | TurnedAway) -> None:
    if of.phase is not Phase.ENTERING:  # the connection has ended meanwhile
        return
    door = of.door
    if isinstance(it, Admitted) and door.access.required and not door.access.knows(it.who):
        it = TurnedAway(it.user, 0.0)  # the user was deleted meanwhile
    if isinstance(it, TurnedAway):
        tried = Identity(it.user, of.link.peer_address[0], mechanism, DOOR)
        door.audit.tell(LOGIN, tried, outcome=REFUSED)
        text = "the user name or the password is wrong"
        reason = f"login refused: user '{printable(it.user)}'"
        of.refuse(Broken(reasons.BAD_LOGIN, text), delay_s=it.delay_s, reason=reason)
        return
    if door.access.required:
        door.audit.tell(LOGIN, it.who)
    try:
        _check(of, it.who)
    except Broken as broken:
        of.refuse(broken)
    else:
        door.model_of.when_open(lambda model: _open(of, model))


def _check(of: Carrier, who: Identity) -> None:
    """Check the rights of the identified client. Raises Broken."""
    door, asked = of.door, of.come
    assert asked is not None
    permits = Permits(door.access, door.refusals, who)
    if not permits.may_enter():
        door.refusals.tell(who, "enter", "vhost", "/", "no rule about any topic or channel")
        raise Broken(reasons.NOT_AUTHORIZED, f"user '{who.user}' may neither publish nor subscribe")
    if asked.will is not None and not permits.may_will(asked.will.topic):
        raise Broken(reasons.NOT_AUTHORIZED, "it may not publish its will")
    of.seat = Seat(door.access.metering)
    most = of.seat.take(who.user) if who.user else None
    if most is not None:
        raise Broken(reasons.QUOTA, f"user connection limit ({most}) is reached")
    of.permits = permits


# Its session


def _open(of: Carrier, model: Model | LogstoreError) -> None:
    if of.phase is not Phase.ENTERING:
        return
    asked, permits, door = of.come, of.permits, of.door
    assert asked is not None
    assert permits is not None
    if isinstance(model, LogstoreError):
        of.refuse(Broken(reasons.UNAVAILABLE, f"MQTT can't be served: {model}"))
        return
    door.model = model
    user = permits.who.user
    there = model.sessions.of(asked.client)
    if there is not None and not there.ended and there.user != user and _is_user(of, there.user):
        of.refuse(Broken(
            reasons.NOT_AUTHORIZED, f"client id {asked.client!r} is in use by another user"
        ))  # fmt: skip
        return
    wanted = Wanted(asked.client, user, asked.clean_start, asked.expiry_s, asked.version, of)
    try:
        connected = model.sessions.connect(wanted)
        of.mine = connected.session
        pending = connected.kept
        if asked.will is not None:
            kept = model.wills.keep(asked.client, _will(asked.will), asked.expiry_s)
            if kept is not None:
                pending = Pending(kept) if pending is None else both(pending, Pending(kept))
    except LogstoreError as error:
        code = reasons.QUOTA if isinstance(error, Refused) else reasons.UNAVAILABLE
        of.refuse(Broken(code, str(error)))
        return
    if pending is None:
        _let_in(of, connected, None)
    else:
        pending.then(lambda it: _let_in(of, connected, it.error))


def _is_user(of: Carrier, user: str) -> bool:
    """Whether a user of this name still exists."""
    return user in of.door.access.users


def _will(will: packets.Will) -> Will:
    said = will.properties
    return Will(
        will.topic, will.payload, will.qos, will.retain, said.will_delay_s or 0, about_of(said),
        said.message_expiry_s,
    )  # fmt: skip


def _let_in(of: Carrier, connected: Connected, error: LogstoreError | None) -> None:
    """Admit the client, once its session is stored, or refuse it with the error."""
    if of.phase is not Phase.ENTERING or of.mine is not connected.session:
        return
    asked, permits = of.come, of.permits
    assert asked is not None
    assert permits is not None
    if error is not None:
        assert of.door.model is not None
        of.mine = None
        of.door.model.wills.give_up(asked.client)
        of.door.model.sessions.refused(connected)
        of.refuse(Broken(reasons.UNAVAILABLE, f"its session can't be kept: {error}"))
        return
    said = answer(asked, of.door.limits.packet_bytes_max) if of.version == V5 else NONE
    of.put(packets.write(Connack(connected.present, reasons.SUCCESS, said), of.version))
    of.run()
    if connected.present and not permits.free:
        of.work(reviewing(of))
    if of.mine is not None:  # None if the review of its subscriptions has ended it
        left = of.door.model.unfinished.pop(connected.session, None) if of.door.model else None
        if left is not None:
            retaining.go_on_with(of, left)
        connected.session.begin(min(asked.window, WINDOW_MAX))
    of.link.wake()
