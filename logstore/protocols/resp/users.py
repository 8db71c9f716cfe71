"""Changes of users by ACL SETUSER and DELUSER: checked one at a time, answered when durable."""

from collections.abc import Callable, Collection, Generator, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from logstore.access.access import ADMINISTRATOR, Access
from logstore.access.identity import Identity
from logstore.access.redis_grants import compiled, is_off
from logstore.access.redis_rules import (
    EVERYTHING,
    NO_PASSWORD,
    NO_RULES,
    BadModifier,
    PasswordChange,
    RedisRules,
    changed,
)
from logstore.errors import LogstoreError, Refused
from logstore.kept.users import Kept, KeptUser
from logstore.protocols.resp import denials, unserved
from logstore.protocols.resp.client import RespClient
from logstore.protocols.resp.command import EVERY, found
from logstore.protocols.resp.door import DEFAULT_USER, RespDoor
from logstore.protocols.resp.permits import Permits
from logstore.protocols.resp.replies import OK, integer
from logstore.slices import GoOn, Steps, Wait

HASHES_MAX: Final = 64  # of one user: each login makes up one hash, and compares it with all
PASSWORDS_MAX: Final = 64  # in one command, at some 30 ms of a worker each
# The user of every client while there are no users.
EVERYONE: Final = replace(EVERYTHING, nopass=True)
FIRST: Final = (
    "the first user must be an administrator with a password: make one with 'logstore user add', "
    "or give the default user one, with ACL SETUSER default >PASSWORD, and no other rules"
)
LIMITED: Final = (
    "user {0!r} is an administrator, and no rules limit one: take the tag away first, with "
    "'logstore user tags'"
)


class NotPermitted(Refused):
    """The caller lacks the right to the change."""


class Changing(NamedTuple):
    """A checked change."""

    user: KeptUser | None = None  # as he is to be, but for his passwords
    passwords: Sequence[PasswordChange] = ()
    forget: Sequence[Kept] = ()
    reply: bytes = OK


def as_user(who: Identity, name: str) -> Identity:
    """The identity of another user who connected in the same way."""
    return replace(who, user=name)


def rules_of(user: KeptUser) -> RedisRules:
    """The user's rules in Redis's form; for an administrator, the rules in effect."""
    kept = None if user.redis is None else compiled(user.redis).rules
    if ADMINISTRATOR in user.tags:
        return EVERYTHING if kept is None else replace(EVERYTHING, on=kept.on)
    return NO_RULES if kept is None else kept


def known(name: str) -> Collection[str] | None:
    """As Known: the commands that are served here, and Redis's other commands."""
    served = EVERY.get(name.encode())
    if served is not None:
        return [it.decode() for it in served.subcommands]
    return unserved.SUBCOMMANDS.get(name, () if name.encode() in unserved.WHY else None)


# Checked


def setting(door: RespDoor, permits: Permits, name: str, modifiers: Sequence[bytes]) -> Changing:
    """The change that ACL SETUSER requests. Raises BadModifier, Refused."""
    from logstore.access.administration import check_user  # imported only when used

    access = door.access
    if not access.required:
        return _first(name, modifiers)
    check_user(name)
    before = access.to_be(name)  # another door's change may be on its way
    base = RedisRules() if before is None else rules_of(before)
    rules, passwords = changed(base, modifiers, known)
    if len(passwords) > PASSWORDS_MAX:
        raise Refused(f"{len(passwords)} passwords at once: at most {PASSWORDS_MAX} are allowed")
    if before is not None and ADMINISTRATOR in before.tags:
        _check_administrator(access, permits, before, rules)
        return Changing(_turned(before, on=rules.on), passwords)
    plain = before is not None and before.redis is None and rules == NO_RULES
    user = KeptUser(name) if before is None else before
    return Changing(replace(user, redis=None if plain else rules.text()), passwords)


def _turned(user: KeptUser, *, on: bool) -> KeptUser:
    """The user turned on or off; its other rules apply again when it is no administrator."""
    kept = EVERYTHING if user.redis is None else compiled(user.redis).rules
    return user if kept.on == on else replace(user, redis=replace(kept, on=on).text())


def _first(name: str, modifiers: Sequence[bytes]) -> Changing:
    """The change that ends open access; its author must keep enough rights to continue."""
    if name != DEFAULT_USER:
        raise Refused(FIRST)
    rules, passwords = changed(EVERYONE, modifiers, known)
    if rules == EVERYONE:  # and so without a password
        return Changing()
    given = any(it.sign == ">" for it in passwords)
    if rules != EVERYTHING or not given or passwords[-1].sign in ("", "<"):
        raise Refused(FIRST)
    return Changing(KeptUser(name, tags=(ADMINISTRATOR,)), passwords)


def _check_administrator(
    access: Access, permits: Permits, user: KeptUser, rules: RedisRules
) -> None:
    """Check that Redis's rules only turn an administrator on or off."""
    _check_may(permits, user)
    if (rules.root, rules.more) != (EVERYTHING.root, ()):
        raise Refused(LIMITED.format(user.name))
    if rules.nopass:
        raise Refused(f"user {user.name!r} is an administrator, and must have a password")
    others = (it for it in access.users.values() if ADMINISTRATOR in it.tags and it is not user)
    if not rules.on and all(is_off(it.redis) for it in others):
        raise Refused(f"user {user.name!r} is the last administrator who can log in")


def _check_may(permits: Permits, user: KeptUser) -> None:
    if ADMINISTRATOR in user.tags and not permits.free:
        raise NotPermitted(f"only an administrator may change the administrator {user.name!r}")


def deleting(door: RespDoor, permits: Permits, names: Sequence[str]) -> Changing:
    """The change that ACL DELUSER requests. Raises Refused."""
    from logstore.access.administration import without_user

    access = door.access
    found = []
    for name in dict.fromkeys(names):
        user = access.to_be(name)
        if user is not None:
            _check_may(permits, user)
            found.append(name)
    forget = [fact for name in found for fact in without_user(access, name).forget]
    return Changing(forget=forget, reply=integer(len(found)))


# Carried out


def change(client: RespClient, arguments: Sequence[bytes], check: Callable[[], Changing]) -> Steps:
    """Make the change; the reply is sent when it is durable."""

    def still() -> Changing:
        _check_allowed(client, arguments)
        return check()

    try:
        yield client.door.changes.enter
        reply = yield from _change(client, still)
    except BadModifier as error:
        client.fail(error.text)
    except NotPermitted as error:
        client.refuse("NOPERM", str(error))
    else:
        client.say(reply)
    finally:
        client.door.changes.leave()


def _check_allowed(client: RespClient, arguments: Sequence[bytes]) -> None:
    """Check the right again, which may have been lost while the command waited."""
    command = found(arguments)
    assert command is not None, "it is being carried out"
    refusal = client.permits.refusal(command, arguments)
    if refusal is not None:
        denials.tell(client, refusal)
        raise NotPermitted(denials.text(client.user, refusal).decode())


def _change(client: RespClient, check: Callable[[], Changing]) -> Generator[int | Wait, Any, bytes]:
    access = client.door.access
    while True:
        asked = check()
        user = asked.user
        before = None if user is None else access.to_be(user.name)
        if user is not None and asked.passwords:
            job = partial(with_passwords, user, asked.passwords)
            user = yield partial(client.door.work, job)
            assert user is not None
            check()  # once more: others had their turn
        if user is None or access.to_be(user.name) is before:  # otherwise it is checked again
            break
    if user == before and not asked.forget:
        return asked.reply
    keep = () if user is None else (user,)
    client.changing = True
    try:
        who = client.permits.who
        yield lambda go_on: _keep(access, keep, asked.forget, who, go_on)
    finally:
        client.changing = False
    if not client.known:  # there were no users, and now he is one
        client.come_in(DEFAULT_USER)
    return asked.reply


def _keep(
    access: Access, keep: Sequence[Kept], forget: Sequence[Kept], by: Identity, go_on: GoOn
) -> None:
    try:
        keeping = access.change(keep, forget, by)
    except LogstoreError as error:
        go_on(error)
    else:
        keeping.then(lambda kept: go_on(kept.error))


def with_passwords(user: KeptUser, changes: Sequence[PasswordChange]) -> KeptUser | LogstoreError:
    """Set passwords; called in a worker, because each may take tens of milliseconds."""
    from hmac import compare_digest

    from logstore.access.rabbit_hashes import is_of
    from logstore.access.scram_keys import check_password, is_key_of, keys_of

    def is_his(password: bytes) -> bool:
        return any(is_key_of(mechanism, key, password) for mechanism, key in scram.items())

    scram, weak, rabbit = dict(user.scram), list(user.weak_sha256), user.rabbit
    for sign, secret in changes:
        if sign == "":
            scram, weak, rabbit = {}, [], None
        elif sign == ">":
            try:
                check_password(secret.decode(errors="surrogateescape"))
            except Refused as error:
                return BadModifier(b">", str(error))
            if not is_his(secret):
                scram, rabbit = keys_of(secret), None
        elif sign == "<" and is_his(secret):
            scram = {}
        elif sign == "<" and rabbit is not None and is_of(rabbit, secret):
            rabbit = None
        elif sign == "#":
            weak = list(dict.fromkeys((*weak, secret.decode())))
        else:
            gone = _sha256(secret) if sign == "<" else secret.decode()
            left = [it for it in weak if not compare_digest(it, gone)]
            if len(left) == len(weak):
                return BadModifier(sign.encode() + (secret if sign == "!" else b""), NO_PASSWORD)
            weak = left
    if len(weak) > HASHES_MAX:
        return BadModifier(b"#", f"A user has at most {HASHES_MAX} hashes of passwords")
    return replace(user, scram=scram, weak_sha256=tuple(weak), rabbit=rabbit)


def _sha256(password: bytes) -> str:
    from hashlib import sha256

    return sha256(password).hexdigest()
