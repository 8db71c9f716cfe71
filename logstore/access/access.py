"""All users and rules as they are now. For the sessions' thread."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from logstore.access.identity import Identity
from logstore.access.rights import Rights
from logstore.access.rules import Decision, decide
from logstore.errors import Refused
from logstore.kept import Keeping
from logstore.kept_users import (
    Kept,
    KeptAccess,
    KeptPermission,
    KeptQuota,
    KeptRule,
    KeptTopicPermission,
    KeptUser,
    UserKeeper,
)

ADMINISTRATOR: Final = "administrator"  # the tag of who may do everything
_BY_TAG: Final = Decision(True, f"the user has the tag {ADMINISTRATOR}")
_OPEN: Final = Decision(True, "there are no users: everyone may do everything")
_OWNER: Final = Decision(True, "the owner of the data directory may do everything")
_NOBODY: Final = Decision(False, "nobody has logged in")
_NO_USER: Final = Decision(False, "there is no such user")


class Access:
    """Of one store. What changes is shown once it is durable."""

    def __init__(self, keeper: UserKeeper) -> None:
        self._keeper = keeper
        kept = keeper.load()
        self.damaged = kept.damaged
        self.users: Mapping[str, KeptUser]
        self.rules: Sequence[KeptRule]
        self.version = 0  # rises with every change
        self._watchers: dict[object, Callable[[], None]] = {}
        self._show(kept)

    def _show(self, kept: KeptAccess) -> None:
        self.users = {it.name: it for it in kept.users}
        self.rules = tuple(kept.rules)
        self.permissions = {(it.user, it.vhost): it for it in kept.permissions}
        self.topic_permissions = {
            (it.user, it.vhost, it.exchange): it for it in kept.topic_permissions
        }
        self.quotas = {it.entity: it for it in kept.quotas}

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
        return decide(self.rules, who, operation, kind, name)

    # Changes

    def change(self, keep: Sequence[Kept] = (), forget: Sequence[Kept] = ()) -> Keeping:
        """Have it kept; shown when it is. Raises Refused where nobody would be left."""
        self._check_not_locked_out(keep, forget)
        told = Keeping()

        def kept(keeping: Keeping) -> None:
            if keeping.error is None:
                self._changed(keep, forget)
            told.finish(keeping.error)

        self._keeper.change(keep, forget).then(kept)
        return told

    def _check_not_locked_out(self, keep: Sequence[Kept], forget: Sequence[Kept]) -> None:
        users = dict(self.users)
        for fact in forget:
            if isinstance(fact, KeptUser):
                users.pop(fact.name, None)
        users |= {fact.name: fact for fact in keep if isinstance(fact, KeptUser)}
        if _steered(self.users) and not _steered(users):
            raise Refused(
                f"the last user with the tag {ADMINISTRATOR} must stay: add another one first"
            )

    def _changed(self, keep: Sequence[Kept], forget: Sequence[Kept]) -> None:
        for fact in forget:
            self._forget(fact)
        for fact in keep:
            self._keep(fact)
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

    def _forget(self, fact: Kept) -> None:
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

    def watch(self, call: Callable[[], None]) -> Callable[[], None]:
        """Have it called after every change; call the result to end that."""
        token = object()
        self._watchers[token] = call

        def stop() -> None:
            self._watchers.pop(token, None)

        return stop


def _steered(users: Mapping[str, KeptUser]) -> bool:
    return any(ADMINISTRATOR in it.tags for it in users.values())


class Unkept:
    """A ``UserKeeper`` of nothing that lasts: of a process without a store, and of tests."""

    def __init__(self, kept: KeptAccess | None = None) -> None:
        self._kept = KeptAccess() if kept is None else kept

    def load(self) -> KeptAccess:
        return self._kept

    def change(self, keep: Sequence[Kept] = (), forget: Sequence[Kept] = ()) -> Keeping:
        keeping = Keeping()
        keeping.finish(None)
        return keeping


def open_access() -> Access:
    """Without users: everyone may do everything."""
    return Access(Unkept())
