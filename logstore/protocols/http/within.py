"""A virtual host as one caller may use it: checks rights, acts, and writes the audit log.

The rights are those that RabbitMQ requires. The native API and RabbitMQ's API both use this class,
so that neither allows what the other refuses. Immediate refusals are raised; ``then`` is called
once with the later result or failure.
"""

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from logstore.access.audit import EXCHANGE as EXCHANGE_EVENT
from logstore.access.audit import POLICY as POLICY_EVENT
from logstore.access.audit import QUEUE as QUEUE_EVENT
from logstore.access.audit import TOPIC as TOPIC_EVENT
from logstore.access.audit import Audit
from logstore.access.entrance import may_enter
from logstore.access.refusals import Refusals
from logstore.access.resources import (
    CREATE,
    DEFAULT_EXCHANGE,
    DELETE,
    DESCRIBE,
    EXCHANGE,
    QUEUE,
    READ,
    WRITE,
    object_name,
    of_target,
    of_topic,
)
from logstore.access.rights import Rights
from logstore.access.rules import NO_GRANT
from logstore.amqp import properties
from logstore.amqp.fields import data, text
from logstore.broker.policies import STREAM, NoPolicy, Policy
from logstore.broker.queues.limits import QueueFacts
from logstore.broker.routing import targets
from logstore.broker.routing.binding import Binding
from logstore.broker.routing.exchange import ALTERNATE_EXCHANGE, ExchangeFacts
from logstore.broker.routing.refusals import NoExchange, NoQueue
from logstore.broker.start import Start
from logstore.errors import Forbidden, LogstoreError, Refused
from logstore.kept.queues import DEFAULT_VHOST
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor

if TYPE_CHECKING:  # the model, which a server that has no queues does without
    from logstore.broker.queues.acts import Fetched, Routed
    from logstore.broker.queues.crossing.topic_route import TopicRoute
    from logstore.broker.queues.crossing.topic_routes import TopicRoutes
    from logstore.broker.queues.message import Message
    from logstore.broker.queues.moving import Moved, Target
    from logstore.broker.queues.named import Named
    from logstore.broker.queues.pending import Pending
    from logstore.broker.queues.queue import Queue
    from logstore.broker.queues.vhost import Vhost

# Tags: who may say that a message is of another user; who sees all there is, but no contents.
IMPERSONATOR: Final = "impersonator"
SEES_ALL: Final = frozenset({"monitoring", "administrator"})
REPLY_TO: Final = "amq.rabbitmq.reply-to"
DEAD_LETTER_EXCHANGE: Final = b"x-dead-letter-exchange"

T = TypeVar("T")
Then = Callable[[T | LogstoreError], None]


class Emptied(NamedTuple):
    """The result of purging or deleting a queue."""

    ready: int  # messages that went with it


class Within:
    """One virtual host, for one request."""

    def __init__(
        self,
        vhost: "Vhost",
        rights: Rights,
        audit: Audit,
        tags: Collection[str],
        refusals: Refusals | None = None,
    ) -> None:
        """``tags``: of whoever asks. ``refusals``: is told what was refused."""
        self.vhost = vhost
        self._name = text(vhost.name)
        self._rights = rights
        self._audit = audit
        self._tags = tags
        self._refusals = refusals
        self._sees_all = rights.all or not SEES_ALL.isdisjoint(tags)

    # What is allowed

    def may(self, operation: str, kind: str, name: bytes) -> bool:
        """Whether he may do this with an exchange or a queue of this name."""
        if operation == DESCRIBE and self._sees_all:
            return True
        named = self._named(kind, name)
        if self._rights.may(operation, kind, named):
            return True
        # To see that something is there it is enough to be allowed anything with it, and not
        # forbidden to see it.
        return (
            operation == DESCRIBE
            and self._rights.may(CREATE, kind, named)
            and self._rights.decision(DESCRIBE, kind, named) == NO_GRANT
        )

    def require(self, operation: str, kind: str, name: bytes) -> None:
        """Raises Forbidden."""
        if not self.may(operation, kind, name):
            named = self._named(kind, name)
            why = self._rights.decision(operation, kind, named).why
            self._refused(operation, kind, named, why)
            raise Forbidden(
                f"{self._who} may not {operation} {kind} {named!r}; ask for a rule or"
                " permission that allows it"
            )

    def _refused(self, operation: str, kind: str, named: str, why: str) -> None:
        if self._refusals is not None:
            self._refusals.tell(self._rights.who, operation, kind, named, why)

    def require_key(self, operation: str, exchange: bytes, key: bytes) -> None:
        """The right to a routing key, where the exchange takes it as a topic. Raises Forbidden."""
        try:
            facts = self.vhost.topology.exchange(exchange)
        except NoExchange:
            return
        named, word = text(exchange), text(key)
        if facts.type_name == "topic" and not self._rights.may_key(
            operation, self._name, named, word
        ):
            at = f"{self._named(EXCHANGE, exchange)} with the key {word}"
            self._refused(operation, EXCHANGE, at, "no topic permission allows it")
            raise Forbidden(
                f"{self._who} may not {operation} exchange {self._named(EXCHANGE, exchange)!r}"
                f" with the key {word!r}; ask for a topic permission that allows it"
            )

    @property
    def _who(self) -> str:
        return self._rights.who.user or "an anonymous client"

    def _named(self, kind: str, name: bytes) -> str:
        if kind not in (EXCHANGE, QUEUE):  # a topic or a channel is in no virtual host
            return text(name)
        default = DEFAULT_EXCHANGE if kind == EXCHANGE else ""
        return object_name(self._name, text(name) or default)

    # Policies

    def set_policy(self, policy: Policy, then: Then[bool]) -> None:
        """It counts then; told is whether it is a new one. Raises InvalidPolicy, TooManyPolicies.

        Whoever may set policies may set any, as in RabbitMQ.
        """
        new = policy.name not in self.vhost.policies.by_name
        pending = self.vhost.set_policies([policy])

        def told(kept: bool | LogstoreError) -> None:
            if not isinstance(kept, LogstoreError):
                self._policy("set", policy.name, f": {_settings(policy)}")
            then(kept)

        _when(pending, new, told)

    def delete_policy(self, name: str, then: Then[Policy]) -> None:
        """It counts no more. Raises NoPolicy."""
        policy = self.policy(name)
        pending = self.vhost.set_policies((), [name])

        def told(kept: Policy | LogstoreError) -> None:
            if not isinstance(kept, LogstoreError):
                self._policy("deleted", name)
            then(kept)

        _when(pending, policy, told)

    def policy(self, name: str) -> Policy:
        """Raises NoPolicy."""
        policy = self.vhost.policies.by_name.get(name)
        if policy is None:
            raise NoPolicy(name, self._name)
        return policy

    def _policy(self, what: str, name: str, more: str = "") -> None:
        shown = object_name(self._name, name)
        self._audit.tell(POLICY_EVENT, self._rights.who, f"{what} policy {shown}{more}")

    # Streams

    def require_stream(self, operation: str, name: bytes) -> None:
        """What is asked besides of a queue's name under which there is a stream.

        Raises Forbidden where a rule denies it of the topic.
        """
        named = self.vhost.topology.queue(name)
        if named is not None and named.topic_name is not None:
            self._unless(operation, *self._topic(named.topic_name))

    def _require_new_stream(self, name: bytes) -> None:
        """A topic that is there is given to whoever has rights to the queue: so he must have all.

        Raises Forbidden.
        """
        found = self.vhost.topic_of_new(name)
        if found is None:
            return
        kind, topic = self._topic(found[0])
        if found[1]:
            for operation in (READ, WRITE, DELETE):
                self.require(operation, kind, data(topic))
        else:
            self._unless(CREATE, kind, topic)

    def _topic(self, name: str) -> tuple[str, str]:
        return of_target(name, self.vhost.keeps_history, channel=False)

    def _unless(self, operation: str, kind: str, name: str) -> None:
        found = self._rights.decision(operation, kind, name)
        if not self._rights.all and not found.allowed and found != NO_GRANT:
            self.require(operation, kind, data(name))

    # Topics that feed exchanges

    def topic_routes(self, routes: "TopicRoutes") -> "list[TopicRoute]":
        """Those here whose ends he may see."""
        return [it for it in routes.of(self.vhost) if self.sees_route(it)]

    def sees_route(self, route: "TopicRoute") -> bool:
        return self._sees_all or (
            self.may(DESCRIBE, *self._of_topic(route.topic))
            and self.may(DESCRIBE, EXCHANGE, route.exchange)
        )

    def check_topic_route(
        self, routes: "TopicRoutes", topic: str, exchange: bytes, key: str, fallback: str | None
    ) -> None:
        """Whether he may have it. The template counts as the routing key.

        Raises Forbidden; as TopicRoutes.check.
        """
        self.require(READ, *self._of_topic(topic))
        self.require(WRITE, EXCHANGE, exchange)
        routes.check(self.vhost, topic, exchange, key, fallback)
        self.require_key(WRITE, exchange, data(key))

    def _of_topic(self, topic: str) -> tuple[str, bytes]:
        kind, name = of_topic(topic, self.vhost.keeps_history)
        return kind, data(name)

    def add_topic_route(
        self,
        routes: "TopicRoutes",
        topic: str,
        exchange: bytes,
        then: "Then[TopicRoute]",
        key: str,
        fallback: str | None,
        start: Start,
    ) -> None:
        """As TopicRoutes.add. Raises Forbidden, too."""
        self.check_topic_route(routes, topic, exchange, key, fallback)

        def added(found: "TopicRoute | LogstoreError") -> None:
            if not isinstance(found, LogstoreError):
                self._routed("routed", topic, exchange, "to")
            then(found)

        routes.add(self.vhost, topic, exchange, added, key=key, fallback=fallback, start=start)

    def topic_route(self, routes: "TopicRoutes", topic: str, exchange: bytes) -> "TopicRoute":
        """One that he may remove. Raises Forbidden, NoRoute."""
        self.require(READ, *self._of_topic(topic))
        self.require(WRITE, EXCHANGE, exchange)
        return routes.named(self.vhost, topic, exchange)

    def remove_topic_route(
        self, routes: "TopicRoutes", topic: str, exchange: bytes, then: Then[str]
    ) -> None:
        """It ends. Raises Forbidden, NoRoute."""
        self.topic_route(routes, topic, exchange)
        pending = routes.remove(self.vhost, topic, exchange)
        self._routed("unrouted", topic, exchange, "from")
        _when(pending, topic, then)

    def _routed(self, what: str, topic: str, exchange: bytes, word: str) -> None:
        named = self._named(EXCHANGE, exchange)
        said = f"{what} topic {topic} {word} exchange {named}"
        self._audit.tell(TOPIC_EVENT, self._rights.who, said)

    # Exchanges

    def exchange(self, name: bytes) -> ExchangeFacts:
        """One that he may see. Raises Forbidden, NoExchange."""
        self.require(DESCRIBE, EXCHANGE, name)
        return self.vhost.topology.exchange(name)

    def sees_exchange(self, facts: ExchangeFacts) -> bool:
        return self._sees_all or self.may(DESCRIBE, EXCHANGE, facts.name)

    def declare_exchange(self, facts: ExchangeFacts, then: Then[ExchangeFacts]) -> None:
        """Make it, unless it is there and the same. Raises Forbidden, as Topology.declare."""
        self.require(CREATE, EXCHANGE, facts.name)
        alternate = facts.arguments.get(ALTERNATE_EXCHANGE)
        if alternate is not None and alternate.kind == "S" and not self.has_exchange(facts.name):
            self.require(READ, EXCHANGE, facts.name)
            self.require(WRITE, EXCHANGE, alternate.value)
        if facts.type_name in targets.TYPES and not self.has_exchange(facts.name):
            target = text(targets.target_of_exchange(facts))
            channel = facts.type_name == targets.TO_CHANNEL
            kind, named = of_target(target, self.vhost.keeps_history, channel=channel)
            self.require(WRITE, kind, data(named))
        _when(self.vhost.declare_exchange(facts), facts, then)

    def has_exchange(self, name: bytes) -> bool:
        try:
            self.vhost.topology.exchange(name)
        except NoExchange:
            return False
        return True

    def delete_exchange(self, name: bytes, then: Then[int], *, if_unused: bool = False) -> None:
        """It goes with so many bindings. Raises Forbidden, NoExchange, NotPermitted, InUse."""
        self.require(DELETE, EXCHANGE, name)
        count = self.vhost.topology.count_bindings_from(name)
        pending = self.vhost.delete_exchange(name, if_unused=if_unused)
        self._removed(EXCHANGE_EVENT, "deleted", EXCHANGE, name)
        _when(pending, count, then)

    # Bindings

    def bind(self, binding: Binding, then: Then[Binding]) -> None:
        """Raises Forbidden, as Vhost.bind."""
        self.require_binding(binding)
        _when(self.vhost.bind(binding), binding, then)

    def unbind(self, binding: Binding, then: Then[Binding]) -> None:
        """Without effect where there is no such binding. Raises Forbidden, as Vhost.unbind."""
        self.require_binding(binding)
        _when(self.vhost.unbind(binding), binding, then)

    def require_binding(self, binding: Binding) -> None:
        self.require(WRITE, binding.kind, binding.destination)
        if binding.kind == QUEUE:
            self.require_stream(WRITE, binding.destination)
        if binding.source and (binding.kind == QUEUE or binding.destination):
            self.require(READ, EXCHANGE, binding.source)
            self.require_key(READ, binding.source, binding.key)

    def sees(self, binding: Binding) -> bool:
        """Whether he may see both of its ends."""
        return self._sees_all or (
            self.may(DESCRIBE, EXCHANGE, binding.source)
            and self.may(DESCRIBE, binding.kind, binding.destination)
        )

    # Queues

    def queue(self, name: bytes, operation: str = DESCRIBE) -> "Named":
        """One that he may do this with, exclusive or not. Raises Forbidden, NoQueue."""
        self.require(operation, QUEUE, name)
        queue = self.vhost.topology.queue(name)
        if queue is None:
            raise NoQueue(name)
        return queue

    def sees_queue(self, queue: "Named") -> bool:
        return self._sees_all or self.may(DESCRIBE, QUEUE, queue.facts.name)

    def declare_queue(self, facts: QueueFacts, then: "Then[Named]") -> None:
        """Make it, unless it is there and the same; its counts are known then.

        Raises Forbidden, as Vhost.declare_queue; Refused for an exclusive one: nobody would own it.
        """
        if facts.exclusive:
            raise Refused(
                f"queue {text(facts.name)!r} can't be exclusive: it would go with the request; "
                f"declare it by AMQP"
            )
        there = bool(facts.name) and self.vhost.topology.queue(facts.name) is not None
        name = facts.name or self.vhost.new_name()
        self.require(CREATE, QUEUE, name)
        dead = facts.arguments.get(DEAD_LETTER_EXCHANGE)
        if dead is not None and dead.kind == "S" and not there:
            self.require(READ, QUEUE, name)
            self.require(WRITE, EXCHANGE, dead.value)
        if facts.type_name == STREAM and not there:
            self._require_new_stream(name)
        queue, pending = self.vhost.declare_queue(facts)

        def kept(found: "Named | LogstoreError") -> None:
            if isinstance(found, LogstoreError):
                then(found)
            else:
                _opened(found, then)

        _when(pending, queue, kept)

    def purge(self, name: bytes, then: Then[Emptied]) -> None:
        """Settle all that is ready. Raises Forbidden, NoQueue, Locked."""
        queue = self.own_queue(name, READ)

        def purged(total: int) -> None:
            if queue.failed is not None:
                then(queue.failed)
                return
            self._removed(QUEUE_EVENT, "purged", QUEUE, name)
            then(Emptied(total))

        queue.purge(purged)

    def delete_queue(
        self, name: bytes, then: Then[Emptied], *, if_unused: bool = False, if_empty: bool = False
    ) -> None:
        """Raises Forbidden, NoQueue, Locked; ``then`` gets ConsumersThere, NotEmpty, too."""
        queue = self.own_queue(name, DELETE)
        self.require_stream(DELETE, name)

        def delete() -> None:
            if queue.gone:
                then(NoQueue(name))
                return
            try:
                total, pending = self.vhost.delete_queue(
                    queue, if_unused=if_unused, if_empty=if_empty
                )
            except LogstoreError as error:
                then(error)
                return
            self._removed(QUEUE_EVENT, "deleted", QUEUE, name)
            _when(pending, Emptied(total), then)

        queue.when_known(delete)  # what it has is

    def own_queue(self, name: bytes, operation: str) -> "Named":
        """Raises Forbidden, NoQueue, Locked."""
        self.require(operation, QUEUE, name)
        return self.vhost.queue(name)

    # Messages

    def _plain(self, named: "Named", act: str) -> "Queue":
        """Raises NotOfStreams."""
        return named.plain(act)

    def open_queue(self, name: bytes) -> "Queue":
        """One whose messages he may look at: who may do everything, in others' exclusive ones, too.

        Those of one are for its connection alone. Raises Forbidden, NoQueue, Locked, NotOfStreams.
        """
        found = self.queue(name, READ) if self._rights.all else self.own_queue(name, READ)
        return self._plain(found, "messages of its own")

    def publish(self, message: "Message", then: "Then[Routed]") -> None:
        """Until it is safe. Raises Forbidden, Refused, as Vhost.route."""
        self.require(WRITE, EXCHANGE, message.exchange)
        self.vhost.topology.check_publish(message.exchange)
        self._check_properties(message.properties)
        self._check_keys(message)
        from logstore.broker.queues import acts

        acts.publish(self.vhost, message, then)

    def _check_keys(self, message: "Message") -> None:
        for key in (message.key, *self.vhost.copies(message)):
            self.require_key(WRITE, message.exchange, key)

    def _check_properties(self, given: bytes) -> None:
        found, _, _ = properties.read_around(given)
        if found.reply_to == REPLY_TO:
            raise Refused(
                f"reply_to={REPLY_TO} works only for AMQP clients: no reply would reach this client"
            )
        who, claimed = self._rights.who, found.user_id
        anybody = who.owner or not who.user or IMPERSONATOR in self._tags
        if claimed is not None and claimed != who.user and not anybody:
            raise Refused(f"user_id={claimed!r} is not the user that has logged in, {who.user!r}")

    def fetch(
        self,
        name: bytes,
        count: int,
        then: "Callable[[Fetched], object]",
        *,
        bytes_max: int | None = None,
    ) -> None:
        """As acts.fetch. Raises Forbidden, NoQueue, Locked."""
        from logstore.broker.queues import acts

        bytes_max = acts.FETCHED_BYTES_MAX if bytes_max is None else bytes_max
        queue = self._plain(self.own_queue(name, READ), "basic.get")
        acts.fetch(self.vhost, queue, count, then, bytes_max=bytes_max)

    def check_publish(self, exchange: bytes, key: bytes | None) -> None:
        """Whether he may publish there. Raises Forbidden, NoExchange, InternalExchange."""
        self.require(WRITE, EXCHANGE, exchange)
        self.vhost.topology.check_publish(exchange)
        if key is not None:
            self.require_key(WRITE, exchange, key)

    def check_message(self, exchange: bytes, message: "Message") -> None:
        """Whether he may publish this one there now. Raises Forbidden."""
        if not self._rights.may(WRITE, EXCHANGE, self._named(EXCHANGE, exchange)):
            self.require(WRITE, EXCHANGE, exchange)
        self._check_keys(message)

    def replayed(self, name: bytes, count: int, into: object) -> None:
        """So many messages of a queue's past were published again: have it known."""
        self._removed(QUEUE_EVENT, f"replayed {count} messages into {into} from", QUEUE, name)

    def check_move(self, name: bytes, target: "Target") -> "Queue":
        """Whether messages of this queue may go there. Raises as ``move``."""
        queue = self._plain(self.own_queue(name, READ), "messages to be moved")
        self.require(WRITE, EXCHANGE, target.exchange)
        self.vhost.topology.check_publish(target.exchange)
        if target.key is not None:
            self.require_key(WRITE, target.exchange, target.key)
        return queue

    def move(
        self,
        name: bytes,
        target: "Target",
        limit: int | None,
        then: "Callable[[Moved], None]",
        wanted: Callable[[], bool],
    ) -> None:
        """As moving.move. Raises Forbidden, NoQueue, Locked, NotOfStreams, NoExchange,
        InternalExchange.

        It ends with Forbidden where a message's key is none that he may use, and when he may not
        move them any more.
        """
        from logstore.broker.queues import moving

        queue = self.check_move(name, target)
        to = self._named(EXCHANGE, target.exchange)

        def done(moved: "Moved") -> None:
            if moved.moved:
                what = f"moved {moved.moved} messages to exchange {to} from"
                self._removed(QUEUE_EVENT, what, QUEUE, name)
            then(moved)

        needed = (
            (READ, QUEUE, self._named(QUEUE, name)),
            (WRITE, EXCHANGE, self._named(EXCHANGE, target.exchange)),
        )

        def check(message: "Message") -> None:
            if not all(self._rights.may(*it) for it in needed):
                self.check_move(name, target)
            self._check_keys(message)

        moving.move(self.vhost, queue, target, limit, done, wanted, check)

    # What is known afterwards

    def _removed(self, event: str, what: str, kind: str, name: bytes) -> None:
        self._audit.tell(event, self._rights.who, f"{what} {self._named(kind, name)}")


def _settings(policy: Policy) -> str:
    """For people."""
    said = ", ".join(f"{key}={value}" for key, value in policy.definition.items())
    return f"{policy.pattern!r} in {policy.apply_to}, priority {policy.priority}: {said}"


def _when(pending: "Pending | None", value: T, then: Then[T]) -> None:
    """Tell it once it is kept, or why it is not."""
    if pending is None:
        then(value)
    else:
        pending.then(lambda it: then(value if it.error is None else it.error))


def _opened(queue: "Named", then: "Then[Named]") -> None:
    """Tell of it once its counts are known, or why they never will be."""
    queue.when_open(lambda: then(queue if queue.failed is None else queue.failed))


def within(door: HttpDoor, call: Call) -> Within:
    """The virtual host that the query names, else the default one, for whoever asks.

    Raises Forbidden where he has no business in it, NoVhost.
    """
    name = call.query.get("vhost", data(DEFAULT_VHOST))
    who, tags = call.who, _tags(door, call)
    if not _enters(door, call, tags, name):
        not_entered(door, call, name)
        raise Forbidden(
            f"{who.user} may not enter virtual host {text(name)!r}; ask for a permission"
        )
    return Within(call.queues.vhost(name), call.rights, door.audit, tags, door.refusals)


def each(door: HttpDoor, call: Call) -> list[Within]:
    """The virtual host that the query names; without one all that he may enter.

    Raises Forbidden, NoVhost.
    """
    if "vhost" in call.query:
        return [within(door, call)]
    tags = _tags(door, call)
    return [
        Within(vhost, call.rights, door.audit, tags, door.refusals)
        for name, vhost in call.queues.vhosts.items()
        if _enters(door, call, tags, name)
    ]


def not_entered(door: HttpDoor, call: Call, vhost: bytes) -> None:
    """Have it known that he was refused there."""
    why = "no permission there, and no rule about anything there"
    door.refusals.tell(call.who, "enter", "vhost", text(vhost), why)


def _enters(door: HttpDoor, call: Call, tags: Collection[str], vhost: bytes) -> bool:
    if call.rights.all or not SEES_ALL.isdisjoint(tags):
        return True
    return may_enter(door.access, call.who, text(vhost))


def _tags(door: HttpDoor, call: Call) -> Collection[str]:
    user = door.access.users.get(call.who.user)
    return () if user is None else user.tags
