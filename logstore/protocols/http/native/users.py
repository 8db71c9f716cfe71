"""Users: list, add, change, delete. No reply reveals how a user's password is checked."""

from collections.abc import Callable, Mapping

import msgspec

from logstore.access import administration
from logstore.access.scram_keys import ITERATIONS, check_iterations, check_password, keys_of
from logstore.errors import LogstoreError
from logstore.kept.users import KeptUser, ScramKey
from logstore.names import OWNER_NAME
from logstore.protocols.http import paging
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.native.vhosts import CREATED

Keys = Mapping[str, ScramKey]


class NewUser(msgspec.Struct, forbid_unknown_fields=True):
    """A user to add; without a password, the user logs in by a certificate."""

    name: str
    password: str | None = None
    tags: list[str] = []
    iterations: int = ITERATIONS


class NewPassword(msgspec.Struct, forbid_unknown_fields=True):
    password: str
    iterations: int = ITERATIONS


class NewTags(msgspec.Struct, forbid_unknown_fields=True):
    tags: list[str]


def ticket_given(door: HttpDoor, call: Call) -> None:
    """Give a temporary login to a caller at the directory's own socket, with all rights at the
    other doors.
    """
    required = door.access.required
    password = door.logins.ticket() if required else ""
    call.answer({"required": required, "user": OWNER_NAME, "password": password})


def listed(door: HttpDoor, call: Call) -> None:
    """List users by name."""
    rows = sorted(door.access.users.values(), key=lambda it: it.name)
    call.answer(paging.shown(rows, call.page(), row))


def described(door: HttpDoor, call: Call) -> None:
    """Describe a user. Raises UnknownUser."""
    call.answer(row(administration.user_of(door.access, call.word("name"))))


def added(door: HttpDoor, call: Call) -> None:
    """Add a user. Raises UserExists, InvalidName, Refused."""
    asked = call.json(NewUser)

    def add(keys: Keys) -> None:
        change = administration.new_user(door.access, asked.name, keys, asked.tags)
        [made] = change.keep
        assert isinstance(made, KeptUser)
        call.answer_when(door.access.change(*change, by=call.who), row(made), CREATED)

    administration.new_user(door.access, asked.name, {}, asked.tags)  # refused before it is hashed
    if asked.password is None:
        add({})
    else:
        hashed(door, call, asked.password, asked.iterations, add)


def password_given(door: HttpDoor, call: Call) -> None:
    """Replace a password. Raises UnknownUser, Refused."""
    name, asked = call.word("name"), call.json(NewPassword)
    administration.user_of(door.access, name)

    def replace(keys: Keys) -> None:
        change = administration.new_password(door.access, name, keys)
        call.answer_when(door.access.change(*change, by=call.who), {"name": name})

    hashed(door, call, asked.password, asked.iterations, replace)


def tags_given(door: HttpDoor, call: Call) -> None:
    """Replace a user's tags. Raises UnknownUser, Refused."""
    name, asked = call.word("name"), call.json(NewTags)
    change = administration.new_tags(door.access, name, asked.tags)
    call.answer_when(door.access.change(*change, by=call.who), {"name": name, "tags": asked.tags})


def deleted(door: HttpDoor, call: Call) -> None:
    """Delete a user and all rules for the user. Raises UnknownUser; Refused for the last user with
    all rights.
    """
    name = call.word("name")
    change = administration.without_user(door.access, name)
    call.answer_when(door.access.change(*change, by=call.who), {"name": name})


def hashed(
    door: HttpDoor, call: Call, text: str, iterations: int, then: Callable[[Keys], None]
) -> None:
    """``then`` gets the keys that check the password. Raises Refused for an invalid password."""
    password, count = check_password(text), check_iterations(iterations)

    def known(keys: Keys | LogstoreError) -> None:
        if isinstance(keys, LogstoreError):
            raise keys
        then(keys)

    door.work(lambda: keys_of(password, count), lambda keys: call.attempt(lambda: known(keys)))


def row(user: KeptUser) -> dict[str, object]:
    """The public facts about a user."""
    return {
        "name": user.name,
        "tags": list(user.tags),
        "mechanisms": user.mechanisms,
        "redis": user.redis,
        "weak": len(user.weak_sha256),  # hashes without salt that the Redis door takes
    }
