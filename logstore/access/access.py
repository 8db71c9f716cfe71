"""All users and rules as they are now. For the sessions' thread."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from logstore.access.identity import Identity
from logstore.access.rights import Rights
from logstore.access.rules import Decision, decide
from logstore.errors import Refused
from logstore.kept import Keeping
from logstore.kept_users import (
    Forgotten,
    Kept,
    KeptAccess,
    KeptPermission,
    KeptQuota,
    KeptRule,
    KeptTopicPermission,
    KeptUser,
    Unreadable,
    UserKeeper,
)

ADMINISTRATOR: Final = "administrator"  # the tag of who may do everything
_BY_TAG: Final = Decision(True, f"the user has the tag {ADMINISTRATOR}")
_OPEN: Final = Decision(True, "there are no users: everyone may do everything")
_OWNER: Final = Decision(True, "the owner of the data directory may do everything")
_NOBODY: Final = Decision(False, "nobody has logged in")
_NO_USER: Final = Decision(False, "there is no such user")
_UNKNOWN: Final = Decision(False, "a rule is damaged, and may forbid it")


class Access:
    """Of one store. What changes is shown once it is durable."""

    def __init__(self, keeper: UserKeeper) -> None:
        self._keeper = keeper
        kept = keeper.load()
        self.users: Mapping[str, KeptUser]
        self.rules: Sequence[KeptRule]
        self.version = 0  # rises with every change
        self._watchers: dict[object, Callable[[], None]] = {}
        self._coming: list[_Change] = []  # what is not durable yet
        self._show(kept)

    def _show(self, kept: KeptAccess) -> None:
        self.users = {it.name: it for it in kept.users}
        self.rules = tuple(kept.rules)
        self.permissions = {(it.user, it.vhost): it for it in kept.permissions}
        self.topic_permissions = {
            (it.user, it.vhost, it.exchange): it for it in kept.topic_permissions
        }
        self.quotas = {it.entity: it for it in kept.quotas}
        self.damaged = tuple(kept.damaged)

    @property
    def required(self) -> bool:
        """Whether one has to say who he is: there are users."""
        return bool(self.users) or bool(self.damaged)

    # What one may

    def rights(self, who: Identity) -> Rights:
        """Of one connection."""
        return Rights(self, who)

    def is_super(self, who: Identity) -> bool:
        """Whether he may do everything."""
        if who.owner or not self.required:
            return True
        user = self.users.get(who.user)
        return user is not None and ADMINISTRATOR in user.tags

    def decision(self, who: Identity, operation: str, kind: str, name: str) -> Decision:
        """Whether he may do this, and why."""
        if who.owner:
            return _OWNER
        if not self.required:
            return _OPEN
        if not who.user:
            return _NOBODY
        user = self.users.get(who.user)
        if user is None:
            return _NO_USER
        if ADMINISTRATOR in user.tags:
            return _BY_TAG
        if any(it.forbids for it in self.damaged):
            return _UNKNOWN
        return decide(self.rules, who, operation, kind, name)

    # Changes

    def change(self, keep: Sequence[Kept] = (), forget: Sequence[Forgotten] = ()) -> Keeping:
        """Have it kept; shown when it is. Raises Refused where nobody would be left."""
        change = _Change(tuple(keep), tuple(forget))
        self._check_not_locked_out(change)
        told = Keeping()
        self._coming.append(change)

        def kept(keeping: Keeping) -> None:
            self._coming.remove(change)
            if keeping.error is None:
                self._changed(keep, forget)
            told.finish(keeping.error)

        self._keeper.change(keep, forget).then(kept)
        return told

    def _check_not_locked_out(self, change: "_Change") -> None:
        """An administrator must be left, whatever becomes of what is coming.

        Of two changes none counts on whom the other brings or takes.
        """
        left = {name for name, it in self.users.items() if ADMINISTRATOR in it.tags}
        if not left:
            return
        for each in (*self._coming, change):
            left -= each.demoted()
        if not left | change.promoted():
            raise Refused(
                f"the last user with the tag {ADMINISTRATOR} must stay: add another one first"
            )

    def _changed(self, keep: Sequence[Kept], forget: Sequence[Forgotten]) -> None:
        for fact in forget:
            self._forget(fact)
        for fact in keep:
            self._keep(fact)
        if self.damaged:  # what was set anew is whole again
            self.damaged = tuple(self._keeper.load().damaged)
        self.version += 1
        for call in list(self._watchers.values()):
            call()

    def _keep(self, fact: Kept) -> None:
        match fact:
            case KeptUser():
                self.users = {**self.users, fact.name: fact}
            case KeptRule():
                self.rules = (*(it for it in self.rules if it != fact), fact)
            case KeptPermission():
                self.permissions[fact.user, fact.vhost] = fact
            case KeptTopicPermission():
                self.topic_permissions[fact.user, fact.vhost, fact.exchange] = fact
            case KeptQuota():
                self.quotas[fact.entity] = fact

    def _forget(self, fact: Forgotten) -> None:
        match fact:
            case KeptUser():
                self.users = {name: it for name, it in self.users.items() if name != fact.name}
            case KeptRule():
                self.rules = tuple(it for it in self.rules if it != fact)
            case KeptPermission():
                self.permissions.pop((fact.user, fact.vhost), None)
            case KeptTopicPermission():
                self.topic_permissions.pop((fact.user, fact.vhost, fact.exchange), None)
            case KeptQuota():
                self.quotas.pop(fact.entity, None)
            case Unreadable():
                pass  # it never counted as anything

    def watch(self, call: Callable[[], None]) -> Callable[[], None]:
        """Have it called after every change; call the result to end that."""
        token = object()
        self._watchers[token] = call

        def stop() -> None:
            self._watchers.pop(token, None)

        return stop


@dataclass(frozen=True, eq=False, slots=True)
class _Change:
    """One that is to become durable."""

    keep: tuple[Kept, ...]
    forget: tuple[Forgotten, ...]

    def promoted(self) -> set[str]:
        """Whom it leaves with the tag that allows everything."""
        kept = (it for it in self.keep if isinstance(it, KeptUser))
        return {it.name for it in kept if ADMINISTRATOR in it.tags}

    def demoted(self) -> set[str]:
        """Whom it leaves without the tag that allows everything."""
        touched = (it for it in (*self.keep, *self.forget) if isinstance(it, KeptUser))
        return {it.name for it in touched} - self.promoted()


class Unkept:
    """A ``UserKeeper`` of nothing that lasts: of a process without a store, and of tests."""

    def __init__(self, kept: KeptAccess | None = None) -> None:
        self._kept = KeptAccess() if kept is None else kept

    def load(self) -> KeptAccess:
        return self._kept

    def change(self, keep: Sequence[Kept] = (), forget: Sequence[Forgotten] = ()) -> Keeping:
        keeping = Keeping()
        keeping.finish(None)
        return keeping


def open_access() -> Access:
    """Without users: everyone may do everything."""
    return Access(Unkept())
