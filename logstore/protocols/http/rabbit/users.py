"""Users: list, describe, add, change, delete; and who the caller is.

RabbitMQ's password hashes are accepted here but never shown; only definitions contain them.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from logstore.access import administration, rabbit_hashes
from logstore.access.administration import Change
from logstore.access.identity import Identity
from logstore.access.scram_keys import ITERATIONS
from logstore.kept.users import KeptUser, PasswordHash, ScramKey
from logstore.names import OWNER_NAME
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.native.users import hashed
from logstore.protocols.http.rabbit import lists
from logstore.protocols.http.rabbit.answers import CREATED, NO_CONTENT
from logstore.protocols.http.rabbit.asked import Asked
from logstore.protocols.http.rabbit.words import bad_request, not_there

ALL_TAGS: Final = ["administrator"]
GUEST: Final = "guest"  # whoever asks while there are no users, as at the AMQP door


def row(user: KeptUser) -> lists.Row:
    """The public facts about a user."""
    return {
        "name": user.name,
        "password_hash": "",
        "hashing_algorithm": rabbit_hashes.SHA_256,
        "tags": list(user.tags),
        "limits": {},
    }


KIND: Final[lists.Kind[KeptUser]] = lists.Kind(
    row, lambda it: it.name, lambda it: it.name, {"name": lambda it: it.name}
)


def whoami(door: HttpDoor, call: Call) -> None:
    """Reply with the caller's name and tags."""
    name, tags = standing(door, call.who)
    call.answer({"name": name, "tags": tags})


def standing(door: HttpDoor, who: Identity) -> tuple[str, list[str]]:
    """The name and tags of the caller, who may not be a user."""
    user = door.access.users.get(who.user)
    if user is not None:
        return user.name, list(user.tags)
    if who.owner:
        return OWNER_NAME, ALL_TAGS
    if not who.user:
        return GUEST, ALL_TAGS
    return who.user, ALL_TAGS if door.access.is_super(who) else []  # the owner, by a ticket


def listed(door: HttpDoor, call: Call) -> None:
    """List users by name. Raises RabbitFault."""
    lists.answer(door, call, list(door.access.users.values()), KIND)


def without_permissions(door: HttpDoor, call: Call) -> None:
    """List the users without a permission that allows anything in any virtual host. Raises
    RabbitFault.
    """
    there = {user for user, _ in door.access.permissions}
    rows = [it for it in door.access.users.values() if it.name not in there]
    lists.answer(door, call, rows, KIND)


def described(door: HttpDoor, call: Call) -> None:
    """Describe a user. Raises RabbitFault."""
    call.answer(row(existing(door, call.word("name"))))


def existing(door: HttpDoor, name: str) -> KeptUser:
    """Raises RabbitFault."""
    found = door.access.users.get(name)
    if found is None:
        raise not_there()
    return found


def made(door: HttpDoor, call: Call) -> None:
    """Add a user, or replace password and tags. Raises RabbitFault, Refused."""
    name, asked = call.word("name"), Asked(call.given)
    tags = tags_given(asked)
    rabbit = None if "password" in asked else _hash_given(asked)

    def keep(keys: Mapping[str, ScramKey]) -> None:
        before = door.access.to_be(name)
        change = _change(door, before, name, keys, tags, rabbit)
        status = CREATED if before is None else NO_CONTENT
        call.when_kept(door.access.change(*change, by=call.who), lambda: call.done(status))

    _change(door, door.access.to_be(name), name, {}, tags)  # refused before anything is hashed
    if "password" in asked:
        hashed(door, call, asked.text("password"), ITERATIONS, keep)
    else:
        keep({})


def _change(
    door: HttpDoor,
    before: KeptUser | None,
    name: str,
    keys: Mapping[str, ScramKey],
    tags: list[str],
    rabbit: PasswordHash | None = None,
) -> Change:
    """Replaces password and tags. Raises Refused, InvalidName."""
    if before is None:
        [user] = administration.new_user(door.access, name, keys, tags).keep
        assert isinstance(user, KeptUser)
        return Change(keep=[replace(user, rabbit=rabbit)])
    checked = administration.check_tags(tags)
    return Change(keep=[replace(before, scram=keys, tags=checked, weak_sha256=(), rabbit=rabbit)])


def _hash_given(asked: Asked) -> PasswordHash | None:
    """Raises RabbitFault."""
    text = asked.text("password_hash")
    if not text:
        return None
    try:
        return rabbit_hashes.parse(text, asked.text("hashing_algorithm", rabbit_hashes.SHA_256))
    except ValueError as error:
        raise bad_request(f"password_hash: {error}") from None


def tags_given(asked: Asked) -> list[str]:
    """The tags: a list, or a text with commas. Raises RabbitFault."""
    given: Any = asked.get("tags")
    if isinstance(given, str):
        return [it.strip() for it in given.split(",") if it.strip()]
    if isinstance(given, list) and all(isinstance(it, str) for it in given):
        return given
    raise bad_request("tags_not_present" if given is None else ["not_tags", str(given)[:60]])


def deleted(door: HttpDoor, call: Call) -> None:
    """Delete a user and all rules for the user. Raises RabbitFault, Refused for the last
    administrator.
    """
    name = call.word("name")
    existing(door, name)
    change = administration.without_user(door.access, name)
    kept = door.access.change(*change, by=call.who)
    call.when_kept(kept, lambda: call.done(NO_CONTENT))


def many_deleted(door: HttpDoor, call: Call) -> None:
    """Delete all of these users, or none. Raises RabbitFault, Refused."""
    asked = Asked(call.given)
    asked.need("users")
    names = asked.get("users")
    if not isinstance(names, list) or not all(isinstance(it, str) for it in names):
        raise bad_request(["not_a_list", "users"])
    forget: list[Any] = []
    for name in dict.fromkeys(names):
        if name not in door.access.users:
            raise bad_request(["no_such_user", name[:60]])
        forget += administration.without_user(door.access, name).forget
    kept = door.access.change((), forget, by=call.who)
    call.when_kept(kept, lambda: call.done(NO_CONTENT))
