"""Checks changes that people make to users and rules, and makes them an ``Access.change``. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Final, NamedTuple, Protocol

from msgspec.structs import replace

from logstore import names
from logstore.access.access import Access
from logstore.access.entrance import is_within
from logstore.access.identity import Identity
from logstore.access.permissions import check_expression
from logstore.access.resources import (
    ALL,
    ALTER,
    ALTER_CONFIGS,
    CHANNEL,
    CLUSTER,
    CLUSTER_ACTION,
    CLUSTER_NAME,
    CREATE,
    DELETE,
    DESCRIBE,
    DESCRIBE_CONFIGS,
    EXCHANGE,
    GROUP,
    IDEMPOTENT_WRITE,
    KEY,
    KINDS,
    OPERATIONS,
    QUEUE,
    READ,
    TOKEN,
    TOPIC,
    TRANSACTIONAL_ID,
    USER,
    WRITE,
    object_name,
    of_topic,
    split_name,
)
from logstore.access.rules import Decision
from logstore.config import nearest
from logstore.errors import InvalidName, NoneOfThatName, Refused, UnknownUser, UserExists
from logstore.kept.users import (
    ANYONE,
    GLOB,
    LITERAL,
    PREFIX,
    Kept,
    KeptPermission,
    KeptQuota,
    KeptRule,
    KeptTopicPermission,
    KeptUser,
    ScramKey,
)

NAME_BYTES_MAX: Final = 511  # of an object: AMQP's have 255, with their virtual host twice as many
ANONYMOUS: Final = "ANONYMOUS"  # who has not logged in, as Kafka's rules call him
TAGS: Final = ("administrator", "management", "monitoring", "policymaker", "impersonator")
TAG_CHARACTERS_MAX: Final = 64
PATTERNS: Final = (LITERAL, PREFIX, GLOB)
# What can be done with objects of each kind; of the first six as in Kafka.
OPERATIONS_OF: Final = {
    TOPIC: (READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS),
    GROUP: (READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS),
    TRANSACTIONAL_ID: (WRITE, DESCRIBE),
    CLUSTER: (
        CREATE, DELETE, ALTER, DESCRIBE, CLUSTER_ACTION, DESCRIBE_CONFIGS, ALTER_CONFIGS,
        IDEMPOTENT_WRITE,
    ),
    TOKEN: (DESCRIBE,),
    USER: (CREATE, DESCRIBE),
    CHANNEL: (READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS),
    EXCHANGE: (READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE),
    QUEUE: (READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS),
    KEY: (READ, WRITE, DELETE, DESCRIBE),
}  # fmt: skip
assert OPERATIONS_OF.keys() == set(KINDS)
_SHOWN_CHARACTERS: Final = 60  # of a name that is refused


class Change(NamedTuple):
    """The facts to store, and the facts to delete."""

    keep: Sequence[Kept] = ()
    forget: Sequence[Kept] = ()


class Known(Protocol):
    """The present users and rules, as ``Access`` holds them."""

    @property
    def users(self) -> Mapping[str, KeptUser]: ...
    @property
    def rules(self) -> Sequence[KeptRule]: ...
    @property
    def permissions(self) -> Mapping[tuple[str, str], KeptPermission]: ...
    @property
    def topic_permissions(self) -> Mapping[tuple[str, str, str], KeptTopicPermission]: ...
    def to_be(self, name: str) -> KeptUser | None:
        """The user of this name after all changes in progress."""

    def rows_to_be(self) -> Iterable[Kept]:
        """The rules, permissions and quotas after all changes in progress."""


# Users


def check_user(name: str) -> str:
    """The same name, if it is allowed for a user. Raises InvalidName."""
    if name == ANONYMOUS:
        raise InvalidName(
            f"no user can be called {name!r}: in rules this name stands for clients that have"
            " not logged in"
        )
    return names.check_user(name)


def _check_object(name: str, kind: str) -> None:
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        encoded = b""
    if not 0 < len(encoded) <= NAME_BYTES_MAX or "\0" in name:
        raise InvalidName(
            f"{kind} name {name[:_SHOWN_CHARACTERS]!r} is not allowed: use 1 to {NAME_BYTES_MAX} "
            f"bytes of UTF-8, no NUL"
        )


def new_user(
    known: Known, name: str, scram: Mapping[str, ScramKey], tags: Iterable[str] = ()
) -> Change:
    """``scram`` may be empty for a user who logs in by a certificate.

    Raises InvalidName, UserExists, Refused.
    """
    if known.to_be(check_user(name)) is not None:
        raise UserExists(
            f"user {name!r} already exists: change the password with `logstore user passwd`"
        )
    return Change(keep=[KeptUser(name, scram, check_tags(tags))])


def new_password(known: Known, name: str, scram: Mapping[str, ScramKey]) -> Change:
    """Replaces all credentials of the user. Raises UnknownUser."""
    before = user_of(known, name)
    return Change(keep=[replace(before, scram=scram, weak_sha256=(), rabbit=None)])


def new_tags(known: Known, name: str, tags: Iterable[str]) -> Change:
    """Replaces the user's tags. Raises UnknownUser, Refused."""
    before = user_of(known, name)
    return Change(keep=[replace(before, tags=check_tags(tags))])


def without_user(known: Known, name: str) -> Change:
    """Deletes the user and all facts that name the user, so that a later user of that name begins
    with nothing.

    Raises UnknownUser.
    """
    mine = (it for it in known.rows_to_be() if _names_user(it, name))
    return Change(forget=[user_of(known, name), *mine])


def _names_user(row: Kept, name: str) -> bool:
    match row:
        case KeptUser():
            return row.name == name
        case KeptQuota():
            return ("user", name) in row.entity
        case _:
            return row.user == name


def user_of(known: Known, name: str) -> KeptUser:
    """The user after all changes in progress. Raises UnknownUser."""
    found = known.to_be(name)
    if found is None:
        shown = name[:_SHOWN_CHARACTERS]
        others = [it for it in known.users if known.to_be(it) is not None]
        raise UnknownUser(f"no user {shown!r}{nearest(shown, others)}", name)
    return found


def check_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """The tags, each once. Raises Refused."""
    found = tuple(dict.fromkeys(tags))
    for tag in found:
        plain = tag.isascii() and tag.replace("-", "").replace("_", "").isalnum()
        if not plain or len(tag) > TAG_CHARACTERS_MAX:
            raise Refused(
                f"tag {tag[:_SHOWN_CHARACTERS]!r} is not allowed: use 1 to {TAG_CHARACTERS_MAX} of "
                f"the characters a-z A-Z 0-9 _ -"
            )
    return found


# Rules


def check_rule(rule: KeptRule) -> KeptRule:
    """The same rule, with address and name in canonical form. Raises Refused, InvalidName."""
    if rule.user not in (ANYONE, ANONYMOUS):
        check_user(rule.user)
    _one_of(rule.kind, KINDS, "kind of object")
    _one_of(rule.operation, (*OPERATIONS, ALL), "operation")
    if rule.operation not in (*OPERATIONS_OF[rule.kind], ALL):
        raise Refused(
            f"operation {rule.operation!r} does not apply to a {rule.kind}: use one of "
            f"{', '.join((*OPERATIONS_OF[rule.kind], ALL))}"
        )
    _one_of(rule.pattern, PATTERNS, "pattern")
    _check_object(rule.name, rule.kind)
    if rule.kind == CLUSTER and (rule.name, rule.pattern) != (CLUSTER_NAME, LITERAL):
        raise Refused(f"a rule about the cluster must name it {CLUSTER_NAME}")
    host = rule.host if rule.host == ANYONE else check_host(rule.host)
    name = rule.name
    if rule.kind in (EXCHANGE, QUEUE) and rule.pattern == LITERAL:
        name = object_name(*split_name(name))  # its host may have signs that are written otherwise
    return replace(rule, host=host, name=name)


def check_host(text: str) -> str:
    """An address in the form that doors use. Raises Refused."""
    try:
        address = ip_address(text)
        return str(getattr(address, "ipv4_mapped", None) or address)
    except ValueError:
        raise Refused(
            f"{text[:_SHOWN_CHARACTERS]!r} is not an address: use an address such as 10.1.2.3, "
            f"or {ANYONE}"
        ) from None


def _one_of(word: str, words: Sequence[str], what: str) -> None:
    if word not in words:
        shown = word[:_SHOWN_CHARACTERS]
        raise Refused(f"no {what} {shown!r}{nearest(shown, words)}; there are {', '.join(words)}")


def new_rules(rules: Iterable[KeptRule]) -> Change:
    """Raises Refused, InvalidName."""
    return Change(keep=list(dict.fromkeys(map(check_rule, rules))))


def without_rules(known: Known, rules: Sequence[KeptRule]) -> Change:
    """Removes these rules, allowing or denying. Raises NoneOfThatName if one does not exist."""
    gone: list[Kept] = []
    for rule in map(check_rule, rules):
        there = [it for it in known.rules if _alike(it) == _alike(rule)]
        if not there:
            raise NoneOfThatName(
                f"no rule for {rule.user} about {rule.operation} on {rule.kind}:{rule.name} "
                f"({rule.pattern}) from {rule.host}; `logstore acl list` shows them"
            )
        gone += there
    return Change(forget=gone)


def _alike(rule: KeptRule) -> tuple[str, ...]:
    """A rule without its permission: whether it allows or denies."""
    return rule.user, rule.operation, rule.kind, rule.name, rule.pattern, rule.host


def order(rule: KeptRule) -> tuple[str, str, str, str, bool, str, str]:
    """The order of rules for people: denying rules first."""
    return (
        rule.user, rule.kind, rule.name, rule.pattern, rule.allow, rule.operation, rule.host,
    )  # fmt: skip


def check(
    access: Access,
    who: Identity,
    operation: str,
    kind: str,
    name: str,
    keeps_history: Callable[[str], bool],
) -> Decision:
    """Whether the user may do this, and which rule says so. Raises Refused if the question is
    invalid.

    ``keeps_history``: as in resources.of_topic, because doors ask about the object behind a topic's
    name. For ``all``, returns the first refused operation.
    """
    rule = check_rule(KeptRule(who.user or ANONYMOUS, operation, kind, name))
    host = check_host(who.host) if who.host else ""
    asked = of_topic(name, keeps_history) if kind == TOPIC else (kind, rule.name)
    found = _decision(access, replace(who, host=host), rule.operation, *asked)
    if asked[0] == kind:
        return found
    return Decision(found.allowed, f"it is {asked[0]}:{asked[1]}: {found.why}")


def _decision(access: Access, who: Identity, operation: str, kind: str, name: str) -> Decision:
    if operation != ALL:
        return access.decision(who, operation, kind, name)
    whys = []
    for each in OPERATIONS_OF[kind]:
        decision = access.decision(who, each, kind, name)
        if not decision.allowed:
            return Decision(False, f"{each}: {decision.why}")
        whys.append(decision.why)
    return Decision(True, "; ".join(dict.fromkeys(whys)))


# RabbitMQ's permissions


def new_permission(known: Known, permission: KeptPermission | KeptTopicPermission) -> Change:
    """Raises UnknownUser, Refused."""
    user_of(known, permission.user)
    texts = [permission.write, permission.read]
    if isinstance(permission, KeptPermission):
        texts.insert(0, permission.configure)
    for text in texts:
        check_expression(text)
    return Change(keep=[permission])


def without_permission(known: Known, user: str, vhost: str, exchange: str | None = None) -> Change:
    """Raises UnknownUser, NoneOfThatName."""
    user_of(known, user)
    found: KeptPermission | KeptTopicPermission | None
    if exchange is None:
        found, at = known.permissions.get((user, vhost)), f"in virtual host {vhost!r}"
    else:
        found = known.topic_permissions.get((user, vhost, exchange))
        at = f"at exchange {exchange!r} in virtual host {vhost!r}"
    if found is None:
        raise NoneOfThatName(f"user {user!r} has no permission {at}")
    return Change(forget=[found])


def without_vhost(known: Known, vhost: str) -> Change:
    """Deletes all permissions in the virtual host, and rules about nothing else.

    Denying rules stay, so that a user with rights in all hosts does not get more in the next host
    of that name.
    """
    return Change(forget=[it for it in known.rows_to_be() if _permits_in(it, vhost)])


def _permits_in(row: Kept, vhost: str) -> bool:
    if isinstance(row, KeptRule):
        return row.allow and is_within(row, vhost)
    return isinstance(row, KeptPermission | KeptTopicPermission) and row.vhost == vhost
