"""All users and rules in memory. Changed in the sessions' thread, read from any thread.

A worker that carries out a door's request may read them while they change.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from msgspec import Struct

from logstore.access import permissions
from logstore.access.audit import NOT_TOLD, Audit, Unheard
from logstore.access.identity import BY_PASSWORD, OAUTHBEARER, Identity
from logstore.access.quotas import Entity, Quotas
from logstore.access.resources import ALTER, ALTER_CONFIGS, CREATE, DELETE, TOPIC, WRITE
from logstore.access.rights import Answers, Rights
from logstore.access.rulebook import Rulebook
from logstore.access.rules import Decision, Granted, decide, decide_matching, decide_some
from logstore.errors import Refused
from logstore.kept.keeping import Keeping
from logstore.kept.users import (
    AccessNews,
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
from logstore.names import AUDIT_TOPIC, KEYS_TOPICS, OWNER_NAME, is_servers

_T = TypeVar("_T", KeptUser, KeptQuota)

ADMINISTRATOR: Final = "administrator"  # the tag of who may do everything
_BY_TAG: Final = Decision(True, f"the user has the tag {ADMINISTRATOR}")
_OPEN: Final = Decision(True, "there are no users, so every client may do everything")
_OWNER: Final = Decision(True, "the owner of the data directory may do everything")
_NOBODY: Final = Decision(False, "nobody has logged in")
_NO_USER: Final = Decision(False, "there is no such user")
_UNKNOWN: Final = Decision(False, "a rule is damaged, and may forbid it")
_ANY_KEY: Final = Decision(True, "the user has no topic permission at the exchange")
_NO_KEY: Final = Decision(False, "the user's topic permission at the exchange has another key")
# Of topics of the server: what it alone does; and what else no rule allows.
_SERVERS: Final = frozenset({WRITE, CREATE})
_ADMINISTRATORS: Final = _SERVERS | {DELETE, ALTER, ALTER_CONFIGS}


class Access:
    """The users and rules of one store. A change is visible once it is durable."""

    def __init__(self, keeper: UserKeeper, *, exposed: bool = False) -> None:
        """``exposed``: strangers can reach the doors, so without users everything is refused."""
        self._keeper = keeper
        self._exposed = exposed
        kept = keeper.load()
        self.users: Mapping[str, KeptUser]  # another one after each change of them, and only then
        self.version = 0  # rises with every change
        self.audit: Audit = Unheard()  # is told of changes
        # Of each user, while he has a connection: a token may name any.
        self._answers = WeakValueDictionary[tuple[str, str, bool], Answers]()
        self._watchers: dict[object, Callable[[], None]] = {}
        self._coming: list[_Change] = []  # what is not durable yet
        self._asking = threading.Lock()  # held for no longer than one decision takes
        self._show(kept)
        self.metering = Quotas(self)  # how much each is given

    def _show(self, kept: KeptAccess) -> None:
        self.users = {it.name: it for it in kept.users}
        self._rulebook = Rulebook(kept.rules)
        self.permissions = {(it.user, it.vhost): it for it in kept.permissions}
        self.topic_permissions = {
            (it.user, it.vhost, it.exchange): it for it in kept.topic_permissions
        }
        self.quotas = {it.entity: it for it in kept.quotas}
        self.damaged = tuple(kept.damaged)

    @property
    def required(self) -> bool:
        """Whether a login is required: there are users, or there should be."""
        return bool(self.users) or bool(self.damaged) or self._exposed

    @property
    def rules(self) -> Sequence[KeptRule]:
        """All rules in the order of their creation."""
        return self._rulebook.rules

    def rules_of(self, who: Identity, *kinds: str) -> Sequence[KeptRule]:
        """The rules about these kinds of objects that concern the user at this address, in no
        order.
        """
        with self._asking:
            return list(self._rulebook.about(who, kinds))

    def knows(self, who: Identity) -> bool:
        """Whether the user still exists, so that the connection may stay."""
        return not self.required or self._standing(who) not in (_NOBODY, _NO_USER)

    # What one may

    def rights(self, who: Identity) -> Rights:
        """The rights of one connection."""
        return Rights(self, who)

    def is_super(self, who: Identity) -> bool:
        """Whether the user may do everything except writing the audit log."""
        standing = self._standing(who)
        return standing is not None and standing.allowed

    def _standing(self, who: Identity) -> Decision | None:
        """The decision by identity alone; None: it depends on the operation."""
        if who.owner:
            return _OWNER
        if not self.required:
            return _OPEN
        if who.user == OWNER_NAME and who.mechanism in BY_PASSWORD:  # Logins.ticket
            return _OWNER
        if not who.user:
            return _NOBODY
        user = self.users.get(who.user)
        if user is None and who.mechanism != OAUTHBEARER:  # there the issuer vouches for him
            return _NO_USER
        if user is not None and ADMINISTRATOR in user.tags:
            return _BY_TAG
        return _UNKNOWN if any(it.forbids for it in self.damaged) else None

    def _granted(self, who: Identity) -> Granted:
        user = self.users.get(who.user)
        return Granted(self.permissions, None if user is None else user.redis)

    def decision(self, who: Identity, operation: str, kind: str, name: str) -> Decision:
        """Whether the operation is allowed, and why."""
        standing = self._standing(who)
        # The owner's own entries may be in the audit log; of other topics of its own the server
        # knows what it has written, and nothing else may be there.
        if kind == TOPIC and is_servers(name) and not (who.owner and name == AUDIT_TOPIC):
            # Keys are in memory, too: to delete their topic would not remove them.
            anyone = standing is None or not standing.allowed or name in KEYS_TOPICS
            if operation in (_ADMINISTRATORS if anyone else _SERVERS):
                return Decision(False, f"{name} is the server's own")
        if standing is not None:
            return standing
        with self._asking:
            return decide(self._rulebook, self._granted(who), who, operation, kind, name)

    def decision_matching(self, who: Identity, operation: str, kind: str, pattern: str) -> Decision:
        """The same for every object whose name matches the glob pattern."""
        standing = self._standing(who)
        if standing is not None:
            return standing
        granted = self._granted(who)
        with self._asking:
            return decide_matching(self._rulebook, granted, who, operation, kind, pattern)

    def decision_some(self, who: Identity, operation: str, kind: str) -> Decision:
        """The same for any object of the kind."""
        standing = self._standing(who)
        if standing is not None:
            return standing
        with self._asking:
            return decide_some(self._rulebook, self._granted(who), who, operation, kind)

    def decision_key(
        self, who: Identity, operation: str, vhost: str, exchange: str, key: str
    ) -> Decision:
        """Whether the user may publish (write) or bind (read) with this key at a topic exchange.

        Without a topic permission there, any key is allowed.
        """
        standing = self._standing(who)
        if standing is not None:
            return standing
        permission = self.topic_permissions.get((who.user, vhost, exchange))
        if permission is None:
            return _ANY_KEY
        known = {"username": who.user, "vhost": vhost}
        why = permissions.allows_key(permission, operation, key, known)
        return _NO_KEY if why is None else Decision(True, why)

    def answers(self, who: Identity) -> Answers:
        """As Decides.answers."""
        return self._answers.setdefault(self.alike(who), Answers())

    def alike(self, who: Identity) -> tuple[str, str, bool]:
        """A value that is equal for identities with equal rights: the host matters only if rules
        name it.
        """
        host = who.host if who.host in self._rulebook.hosts else ""
        return who.user, host, who.mechanism == OAUTHBEARER

    # Changes

    def to_be(self, name: str) -> KeptUser | None:
        """The user of this name after all changes in progress."""
        return self._to_be(KeptUser, (KeptUser, name), self.users.get(name))

    def _to_be(self, kind: type[_T], what: object, now: _T | None) -> _T | None:
        for each in self._coming:
            if any(isinstance(it, kind) and _what(it) == what for it in each.forget):
                now = None
            for it in each.keep:
                if isinstance(it, kind) and _what(it) == what:
                    now = it
        return now

    def rows_to_be(self) -> Iterable[Kept]:
        """The rules, permissions and quotas after all changes in progress, in the order of their
        kinds.
        """
        with self._asking:
            rows: tuple[Kept, ...] = (
                *self.rules, *self.permissions.values(), *self.topic_permissions.values(),
                *self.quotas.values(),
            )  # fmt: skip
        if not self._coming:
            return rows
        found = {_what(it): it for it in rows}
        for each in self._coming:
            for gone in each.forget:
                found.pop(_what(gone), None)
            for it in each.keep:
                if not isinstance(it, KeptUser):
                    found[_what(it)] = it
        return found.values()

    def quota_to_be(self, entity: Entity) -> KeptQuota | None:
        """The quota after all changes in progress."""
        return self._to_be(KeptQuota, (KeptQuota, entity), self.quotas.get(entity))

    def change(
        self,
        keep: Sequence[Kept] = (),
        forget: Sequence[Forgotten] = (),
        by: Identity = NOT_TOLD,
    ) -> Keeping:
        """Store a change; it takes effect and is written to the audit log when it is stored.

        Raises Refused if no administrator would be left.
        """
        change = _Change(tuple(keep), tuple(forget))
        self._check_not_locked_out(change)
        told = Keeping()
        self._coming.append(change)

        def kept(keeping: Keeping) -> None:
            self._coming.remove(change)
            if keeping.error is None:
                self._changed(keep, forget, by)
            told.finish(keeping.error)

        self._keeper.change(keep, forget).then(kept)
        return told

    def _check_not_locked_out(self, change: "_Change") -> None:
        """Check that an administrator is left, whatever happens to changes in progress.

        No change relies on users that another change in progress adds or removes.
        """
        left = {name for name, it in self.users.items() if steers(it)}
        if not left:
            return
        for each in (*self._coming, change):
            left -= each.demoted()
        if not left | change.promoted():
            raise Refused(
                f"the last user with the tag {ADMINISTRATOR} must remain: add another one first"
            )

    def follow(self, news: AccessNews) -> None:
        """Apply another node's change, which is already in that node's audit log."""
        self._show_changed(news.keep, news.forget, damage=news.damage)
        self._tell_watchers()

    def _changed(self, keep: Sequence[Kept], forget: Sequence[Forgotten], by: Identity) -> None:
        from logstore.access.worded import worded  # a server may run for long before a change

        told = list(worded(self.users, keep, forget))
        before = self.required
        if before:  # the last user who goes is told of, too
            self._tell(told, by)
        self._show_changed(keep, forget)
        if not before:
            self._tell(told, by)
        self._tell_watchers()

    def _show_changed(
        self, keep: Sequence[Kept], forget: Sequence[Forgotten], *, damage: bool = False
    ) -> None:
        # Copied once, since a change may be of thousands; and only where it is of users, since who
        # has many connections looks at them all when it is another one.
        of_users = any(isinstance(it, KeptUser) for it in (*keep, *forget))
        users = dict(self.users) if of_users else {}
        with self._asking:
            for gone in forget:
                if isinstance(gone, KeptUser):
                    users.pop(gone.name, None)
                else:
                    self._forget(gone)
            for fact in keep:
                if isinstance(fact, KeptUser):
                    users[fact.name] = fact
                else:
                    self._keep(fact)
            if of_users:
                self.users = users
        if self.damaged or damage:  # what was set anew is whole again
            self.damaged = tuple(self._keeper.load().damaged)
        self._answers = WeakValueDictionary()
        self.version += 1  # last: whoever sees it sees all of the change

    def _tell_watchers(self) -> None:
        for call in list(self._watchers.values()):
            call()

    def _tell(self, told: Iterable[tuple[str, str]], by: Identity) -> None:
        for event, what in told:
            self.audit.tell(event, by, what)

    def _keep(self, fact: Kept) -> None:
        match fact:
            case KeptRule():
                self._rulebook.add(fact)
            case KeptPermission():
                self.permissions[fact.user, fact.vhost] = fact
            case KeptTopicPermission():
                self.topic_permissions[fact.user, fact.vhost, fact.exchange] = fact
            case KeptQuota():
                self.quotas[fact.entity] = fact

    def _forget(self, fact: Forgotten) -> None:
        match fact:
            case KeptRule():
                self._rulebook.remove(fact)
            case KeptPermission():
                self.permissions.pop((fact.user, fact.vhost), None)
            case KeptTopicPermission():
                self.topic_permissions.pop((fact.user, fact.vhost, fact.exchange), None)
            case KeptQuota():
                self.quotas.pop(fact.entity, None)
            case Unreadable():
                pass  # it never counted as anything

    def watch(self, call: Callable[[], None]) -> Callable[[], None]:
        """Call this after every change; call the result to stop that."""
        token = object()
        self._watchers[token] = call

        def stop() -> None:
            self._watchers.pop(token, None)

        return stop


def steers(user: KeptUser) -> bool:
    """Whether the user may do everything and may log in: Redis's ``off`` applies at every door."""
    if ADMINISTRATOR not in user.tags:
        return False
    if user.redis is None:
        return True
    from logstore.access.redis_grants import is_off  # few have such rules

    return not is_off(user.redis)


def _what(row: Forgotten) -> object:
    """The identity of a fact: a new fact with the same identity replaces it."""
    match row:
        case KeptUser():
            return KeptUser, row.name
        case KeptPermission():
            return KeptPermission, row.user, row.vhost
        case KeptTopicPermission():
            return KeptTopicPermission, row.user, row.vhost, row.exchange
        case KeptQuota():
            return KeptQuota, row.entity
        case _:
            return row


class _Change(Struct, frozen=True, eq=False):
    """A change that is not durable yet."""

    keep: tuple[Kept, ...]
    forget: tuple[Forgotten, ...]

    def promoted(self) -> set[str]:
        """The users that have the tag for everything after it."""
        kept = (it for it in self.keep if isinstance(it, KeptUser))
        return {it.name for it in kept if steers(it)}

    def demoted(self) -> set[str]:
        """The users that lack the tag for everything after it."""
        touched = (it for it in (*self.keep, *self.forget) if isinstance(it, KeptUser))
        return {it.name for it in touched} - self.promoted()


class Unkept:
    """A ``UserKeeper`` that stores nothing, for a process without a store and for tests."""

    def __init__(self, kept: KeptAccess | None = None) -> None:
        self._kept = KeptAccess() if kept is None else kept

    def load(self) -> KeptAccess:
        return self._kept

    def change(self, keep: Sequence[Kept] = (), forget: Sequence[Forgotten] = ()) -> Keeping:
        keeping = Keeping()
        keeping.finish(None)
        return keeping


def open_access() -> Access:
    """The access without users: everyone may do everything."""
    return Access(Unkept())
