"""Describes changes of users and rules in words for the audit log, without secrets. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from logstore.access.audit import PERMISSION, QUOTA, RULE, USER
from logstore.access.rules import shown
from logstore.kept.users import (
    Forgotten,
    Kept,
    KeptPermission,
    KeptQuota,
    KeptRule,
    KeptTopicPermission,
    KeptUser,
)

Told = tuple[str, str]  # an event and what it was about


def worded(
    users: Mapping[str, KeptUser], keep: Sequence[Kept], forget: Sequence[Forgotten]
) -> Iterator[Told]:
    """A description of the change, compared with the users before it."""
    made = {it.name for it in keep if isinstance(it, KeptUser)}
    for gone in forget:
        match gone:
            case KeptUser():
                if gone.name not in made:
                    yield USER, f"deleted {gone.name}"
            case KeptRule():
                yield RULE, f"removed {shown(gone)}"
            case KeptPermission() | KeptTopicPermission():
                yield PERMISSION, f"removed {_place(gone)}"
            case KeptQuota():
                yield QUOTA, f"removed {_entity(gone)}"
            case _:
                yield USER, f"removed {gone}"
    for fact in keep:
        match fact:
            case KeptUser():
                yield USER, _user(users.get(fact.name), fact)
            case KeptRule():
                yield RULE, f"made {shown(fact)}"
            case KeptPermission():
                yield (
                    PERMISSION,
                    f"set {_place(fact)}: configure {fact.configure!r}, write {fact.write!r}, "
                    f"read {fact.read!r}",
                )
            case KeptTopicPermission():
                yield (
                    PERMISSION,
                    f"set {_place(fact)}: write {fact.write!r}, read {fact.read!r}",
                )
            case KeptQuota():
                values = ", ".join(f"{name}={value:g}" for name, value in fact.values.items())
                yield QUOTA, f"set {_entity(fact)}: {values}"


def _user(before: KeptUser | None, now: KeptUser) -> str:
    tags = f"tags {', '.join(now.tags) or 'none'}"
    if before is None:
        return f"made {now.name}, {tags}"
    changed = []
    known = before.scram, before.weak_sha256, before.rabbit
    if known != (now.scram, now.weak_sha256, now.rabbit):
        changed.append("password")
    if before.tags != now.tags:
        changed.append(tags)
    if before.redis != now.redis:
        changed.append("Redis rules")
    return f"changed {now.name}: {', '.join(changed) or 'nothing'}"


def _place(permission: KeptPermission | KeptTopicPermission) -> str:
    exchange = ""
    if isinstance(permission, KeptTopicPermission):
        exchange = f" at exchange {permission.exchange}"
    return f"permission of {permission.user} in virtual host {permission.vhost}{exchange}"


def _entity(quota: KeptQuota) -> str:
    named = (f"{kind} {'<default>' if name is None else name}" for kind, name in quota.entity)
    return f"quota of {', '.join(named)}"
