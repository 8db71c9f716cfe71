"""The waist for stored facts about users, as models and storage see them.

Facts are values. A user is identified by name; a rule, a permission and a quota by their content,
so storing an equal one again changes nothing, or replaces what it grants. No password is ever
stored.

Classes here and in ``access/`` are Structs, whose definition takes a hundredth of a dataclass's
time, so a server without users starts faster.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from msgspec import Struct, field

from logstore import names
from logstore.kept.keeping import Keeping

SHA_256: Final = "SCRAM-SHA-256"
SHA_512: Final = "SCRAM-SHA-512"

LITERAL: Final = "literal"
PREFIX: Final = "prefix"
GLOB: Final = "glob"
# As a rule's user; as its host, from anywhere; as a literal name, any.
ANYONE: Final = names.ANYONE


class ScramKey(Struct, frozen=True):
    """The data to check a password against (RFC 5802, 3); it does not reveal the password."""

    salt: bytes
    iterations: int
    stored_key: bytes
    server_key: bytes


class PasswordHash(Struct, frozen=True):
    """A password in RabbitMQ's format, from definitions: the digest of salt and password."""

    algorithm: str  # sha256, sha512 or md5
    salt: bytes
    digest: bytes


class KeptUser(Struct, frozen=True):
    """A user, and how the user logs in."""

    name: str
    scram: Mapping[str, ScramKey] = field(default_factory=dict)  # by mechanism
    tags: tuple[str, ...] = ()  # RabbitMQ's; ``administrator`` may do everything
    # His rules in Redis's own words, without passwords; None: he has none, and Redis's commands
    # are not limited for him.
    redis: str | None = None
    weak_sha256: tuple[str, ...] = ()  # hashes of Redis's ``#``: for the Redis door alone
    rabbit: PasswordHash | None = None  # until he has another password

    @property
    def mechanisms(self) -> list[str]:
        """The mechanisms that can check the user's password."""
        return [*sorted(self.scram), *([f"rabbit-{self.rabbit.algorithm}"] if self.rabbit else [])]


class KeptRule(Struct, frozen=True):
    """Who may, or may not, do what with which objects, and from which host: Kafka's language."""

    user: str  # or ANYONE
    operation: str  # one of ``access/resources.py``, or ALL
    kind: str  # of the resource
    name: str  # of a literal one also ANYONE
    pattern: str = LITERAL
    allow: bool = True
    host: str = ANYONE  # an address


class KeptPermission(Struct, frozen=True):
    """What a user may do in a virtual host: RabbitMQ's three regular expressions."""

    user: str
    vhost: str
    configure: str
    write: str
    read: str


class KeptTopicPermission(Struct, frozen=True):
    """The routing keys that a user may publish and bind with at one exchange of type topic."""

    user: str
    vhost: str
    exchange: str
    write: str
    read: str


class KeptQuota(Struct, frozen=True):
    """Limits in Kafka's terms, for a user, client-id or ip; None stands for all others."""

    entity: tuple[tuple[str, str | None], ...]  # sorted
    values: Mapping[str, float] = field(default_factory=dict)


class Unreadable(Struct, frozen=True):
    """A damaged row. Deleting it removes the row."""

    key: bytes  # of the row
    why: str  # what is damaged, how, and what to do
    forbids: bool  # it may have forbidden something, so what is allowed is not known

    def __str__(self) -> str:
        return self.why


Kept = KeptUser | KeptRule | KeptPermission | KeptTopicPermission | KeptQuota
Forgotten = Kept | Unreadable


class KeptAccess(Struct, frozen=True):
    """All stored facts about users."""

    users: Sequence[KeptUser] = ()
    rules: Sequence[KeptRule] = ()
    permissions: Sequence[KeptPermission] = ()
    topic_permissions: Sequence[KeptTopicPermission] = ()
    quotas: Sequence[KeptQuota] = ()
    damaged: Sequence[Unreadable] = ()


class AccessNews(Struct, frozen=True):
    """Changes of stored facts, if other nodes may make changes, too."""

    keep: Sequence[Kept] = ()
    forget: Sequence[Kept] = ()
    damage: bool = False  # something is damaged, or is no more


class UserKeeper(Protocol):
    """The storage of users, for a process that has them in memory.

    As ``QueueKeeper``: changes become durable in the order of the calls, and each ``Keeping`` is
    finished once, in that order, in the caller's own thread.
    """

    def load(self) -> KeptAccess: ...
    def change(self, keep: Sequence[Kept] = (), forget: Sequence[Forgotten] = ()) -> Keeping:
        """Make all of these changes or none. Deleted facts are named by their identity."""
