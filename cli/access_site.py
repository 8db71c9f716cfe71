"""What commands need of users and rules: those of a store in this process, or of its server."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol

from .options import DataDir

if TYPE_CHECKING:
    from logstore.access.access import Access
    from logstore.access.administration import Change
    from logstore.access.rules import Decision
    from logstore.kept.keeping import Keeping
    from logstore.kept.users import KeptPermission, KeptRule, KeptTopicPermission, KeptUser
    from logstore.server_socket import ServerSocket
    from logstore.store import Store

DEFAULT_VHOST: Final = "/"


class UserRow(NamedTuple):
    """What may be known of a user."""

    name: str
    tags: Sequence[str]
    mechanisms: Sequence[str]  # of SCRAM; none: no password
    redis: str | None  # rules in Redis's own words
    weak: int  # hashes without salt that the Redis door takes


class AccessSite(Protocol):
    """Every method raises LogstoreError alone."""

    def users(self) -> list[UserRow]:
        """All users, ordered by name."""

    def has_users(self) -> bool: ...
    def user(self, name: str) -> UserRow | None: ...

    def add_user(
        self, name: str, password: str | None, tags: Sequence[str], iterations: int
    ) -> None:
        """Add a user. Raises UserExists, InvalidName, Refused."""

    def set_password(self, name: str, password: str, iterations: int) -> None:
        """Set a user's password. Raises UnknownUser, Refused."""

    def set_tags(self, name: str, tags: Sequence[str]) -> None:
        """Set a user's tags. Raises UnknownUser, Refused."""

    def delete_user(self, name: str) -> None:
        """Delete a user. Raises UnknownUser, Refused."""

    def rules(self) -> "list[KeptRule]":
        """All rules, sorted."""

    def add_rules(self, rules: "Sequence[KeptRule]") -> None:
        """Add rules of one object that differ by the operation. Raises Refused, InvalidName."""

    def remove_rules(self, rules: "Sequence[KeptRule]") -> None:
        """Remove rules that allow or deny. Raises NoneOfThatName."""

    def check(self, user: str, host: str, operation: str, kind: str, name: str) -> "Decision":
        """Whether the user may do this, and the rule that decides. Raises Refused."""

    def permissions(self) -> "list[KeptPermission]":
        """All permissions, ordered by virtual host and user."""

    def topic_permissions(self) -> "list[KeptTopicPermission]":
        """All topic permissions, ordered by virtual host, user and exchange."""

    def set_permission(self, permission: "KeptPermission | KeptTopicPermission") -> None:
        """Set a permission. Raises UnknownUser, NoneOfThatName, Refused."""

    def clear_permission(self, user: str, vhost: str, exchange: str | None) -> None:
        """Clear a permission. Raises UnknownUser, NoneOfThatName."""

    def damaged(self) -> list[str]:
        """Unreadable rows of users, rules and permissions: what each is, and the reason."""

    def remove_damaged(self) -> None:
        """Remove the unreadable rows."""


@contextmanager
def access_of(
    data: DataDir, mode: Literal["read", "write"] = "write", *, create: bool = False
) -> Iterator[AccessSite]:
    """The access data, in this process or in the server that has the directory open.

    Raises StoreLocked if another program has locked the data that is to be written.
    """
    from logstore.errors import StoreLocked

    with ExitStack() as stack:
        store = None
        if mode == "read" and not data.is_served():
            # Not for writing: that would change a backup, and bring an older store up to date.
            store = stack.enter_context(data.open("read"))
        elif mode == "write":
            try:
                store = stack.enter_context(data.open("write", create=create))
            except StoreLocked as locked:
                if locked.owner is None or not locked.owner.endpoints:  # no server
                    raise
        if store is not None:
            yield LocalAccess(store)
            return
        from logstore.server_socket import ServerSocket

        yield ServedAccess(ServerSocket(str(data.path)))


def _durable(keeping: "Keeping") -> None:
    """Check that a change was stored. Raises StorageFull, Failed."""
    assert keeping.done, "without a server a change is durable on return"
    if keeping.error is not None:
        raise keeping.error


class LocalAccess:
    """Of a store that no server has. As AccessSite."""

    def __init__(self, store: "Store") -> None:
        self._store = store
        self._access: Access = store.internals().access()

    def _change(self, change: "Change") -> None:
        from logstore.access.identity import OWNER

        _durable(self._access.change(*change, by=OWNER))

    def users(self) -> list[UserRow]:
        return [_row(it) for _, it in sorted(self._access.users.items())]

    def has_users(self) -> bool:
        return bool(self._access.users)

    def user(self, name: str) -> UserRow | None:
        found = self._access.users.get(name)
        return None if found is None else _row(found)

    def add_user(
        self, name: str, password: str | None, tags: Sequence[str], iterations: int
    ) -> None:
        from logstore.access.administration import new_user
        from logstore.access.scram_keys import check_iterations, check_password, keys_of

        new_user(self._access, name, {}, tags)  # refused before it is hashed
        keys = (
            {}
            if password is None
            else keys_of(check_password(password), check_iterations(iterations))
        )
        self._change(new_user(self._access, name, keys, tags))

    def set_password(self, name: str, password: str, iterations: int) -> None:
        from logstore.access.administration import new_password, user_of
        from logstore.access.scram_keys import check_iterations, check_password, keys_of

        user_of(self._access, name)
        keys = keys_of(check_password(password), check_iterations(iterations))
        self._change(new_password(self._access, name, keys))

    def set_tags(self, name: str, tags: Sequence[str]) -> None:
        from logstore.access.administration import new_tags

        self._change(new_tags(self._access, name, tags))

    def delete_user(self, name: str) -> None:
        from logstore.access.administration import without_user

        self._change(without_user(self._access, name))

    def rules(self) -> "list[KeptRule]":
        from logstore.access.administration import order

        return sorted(self._access.rules, key=order)

    def add_rules(self, rules: "Sequence[KeptRule]") -> None:
        from logstore.access.administration import new_rules

        self._change(new_rules(rules))

    def remove_rules(self, rules: "Sequence[KeptRule]") -> None:
        from logstore.access.administration import without_rules

        self._change(without_rules(self._access, rules))

    def check(self, user: str, host: str, operation: str, kind: str, name: str) -> "Decision":
        from logstore.access.administration import check
        from logstore.access.identity import Identity
        from logstore.broker.history import Histories

        # A store opened to read keeps no channel histories: the settings decide.
        rules, topics = self._store.config.channels, self._store.internals().topics
        histories = Histories(rules, topics, lambda _: None)
        return check(self._access, Identity(user, host), operation, kind, name, histories.is_kept)

    def permissions(self) -> "list[KeptPermission]":
        return sorted(self._access.permissions.values(), key=lambda it: (it.vhost, it.user))

    def topic_permissions(self) -> "list[KeptTopicPermission]":
        found = self._access.topic_permissions.values()
        return sorted(found, key=lambda it: (it.vhost, it.user, it.exchange))

    def set_permission(self, permission: "KeptPermission | KeptTopicPermission") -> None:
        from logstore.access.administration import new_permission
        from logstore.amqp.fields import data
        from logstore.broker.queues.refusals import NoVhost

        if permission.vhost != DEFAULT_VHOST and permission.vhost not in self._store.vhosts():
            raise NoVhost(data(permission.vhost))
        self._change(new_permission(self._access, permission))

    def clear_permission(self, user: str, vhost: str, exchange: str | None) -> None:
        from logstore.access.administration import without_permission

        self._change(without_permission(self._access, user, vhost, exchange))

    def damaged(self) -> list[str]:
        return list(map(str, self._access.damaged))

    def remove_damaged(self) -> None:
        from logstore.access.identity import OWNER

        _durable(self._access.change((), self._access.damaged, by=OWNER))


class ServedAccess:
    """Of a server, asked through the socket of its directory. As AccessSite."""

    def __init__(self, server: "ServerSocket") -> None:
        self._server = server

    def users(self) -> list[UserRow]:
        return [UserRow(**it) for it in self._server.rows("users")]

    def has_users(self) -> bool:
        return bool(self._server.get("users", page_size=1)["total"])

    def user(self, name: str) -> UserRow | None:
        from logstore.errors import UnknownUser

        try:
            return UserRow(**self._server.get("users", name))
        except UnknownUser:
            return None

    def add_user(
        self, name: str, password: str | None, tags: Sequence[str], iterations: int
    ) -> None:
        asked = {"name": name, "password": password, "tags": tags, "iterations": iterations}
        self._server.post("users", value=asked)

    def set_password(self, name: str, password: str, iterations: int) -> None:
        asked = {"password": password, "iterations": iterations}
        self._server.put("users", name, "password", value=asked)

    def set_tags(self, name: str, tags: Sequence[str]) -> None:
        self._server.put("users", name, "tags", value={"tags": tags})

    def delete_user(self, name: str) -> None:
        self._server.delete("users", name)

    def rules(self) -> "list[KeptRule]":
        from logstore.access.administration import order
        from logstore.kept.users import KeptRule

        return sorted((KeptRule(**it) for it in self._server.rows("rules")), key=order)

    def add_rules(self, rules: "Sequence[KeptRule]") -> None:
        self._server.post("rules", value=_asked(rules))

    def remove_rules(self, rules: "Sequence[KeptRule]") -> None:
        self._server.delete("rules", value=_asked(rules))

    def check(self, user: str, host: str, operation: str, kind: str, name: str) -> "Decision":
        from logstore.access.rules import Decision

        asked = {"user": user, "host": host, "operation": operation, "kind": kind, "name": name}
        found = self._server.get("rules", "check", **asked)
        return Decision(found["allowed"], found["why"])

    def permissions(self) -> "list[KeptPermission]":
        from logstore.kept.users import KeptPermission

        return [KeptPermission(**it) for it in self._server.rows("permissions")]

    def topic_permissions(self) -> "list[KeptTopicPermission]":
        from logstore.kept.users import KeptTopicPermission

        return [KeptTopicPermission(**it) for it in self._server.rows("topic-permissions")]

    def set_permission(self, permission: "KeptPermission | KeptTopicPermission") -> None:
        from logstore.kept.users import KeptPermission

        asked = {"write": permission.write, "read": permission.read}
        if isinstance(permission, KeptPermission):
            path, more = "permissions", {"configure": permission.configure}
        else:
            path, more = "topic-permissions", {"exchange": permission.exchange}
        self._server.put(path, permission.vhost, permission.user, value=asked | more)

    def clear_permission(self, user: str, vhost: str, exchange: str | None) -> None:
        if exchange is None:
            self._server.delete("permissions", vhost, user)
        else:
            self._server.delete("topic-permissions", vhost, user, exchange=exchange)

    def damaged(self) -> list[str]:
        return [it["damage"] for it in self._server.rows("damaged-rules")]

    def remove_damaged(self) -> None:
        self._server.delete("damaged-rules")


def _row(user: "KeptUser") -> UserRow:
    return UserRow(user.name, user.tags, user.mechanisms, user.redis, len(user.weak_sha256))


def _asked(rules: "Sequence[KeptRule]") -> dict[str, Any]:
    """Rules of one object in the form of the server's API."""
    one = rules[0]
    return {
        "user": one.user,
        "operations": [it.operation for it in rules],
        "kind": one.kind,
        "name": one.name,
        "pattern": one.pattern,
        "allow": one.allow,
        "host": one.host,
    }
