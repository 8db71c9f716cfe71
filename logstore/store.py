"""The library face: one data directory, its topics and groups."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from logstore import forks
from logstore.broker.channel import Channels
from logstore.broker.chores import OWN_THREADS, Chores
from logstore.broker.committed import CommittedLog, Isolation
from logstore.broker.consumer import Consumer
from logstore.broker.consuming import Consuming, Wish
from logstore.broker.deduplication.deduplication import Deduplication
from logstore.broker.group import Group
from logstore.broker.handles import Handles, close_all
from logstore.broker.known_groups import KnownGroups
from logstore.broker.ledger import Ledger
from logstore.broker.listening import Channel, Listener
from logstore.broker.producer import Producer
from logstore.broker.reading import OnDamage, skip_of
from logstore.broker.replay import replay
from logstore.broker.rules import BATCH_BYTES
from logstore.broker.start import (
    OnOutOfRange,
    Start,
    Starts,
)
from logstore.broker.topic import Topic
from logstore.broker.topics import Change
from logstore.broker.trimming import Trim, trim
from logstore.clock import now_ms
from logstore.config import Chosen, Config
from logstore.counts.schedules import ScheduleCounts
from logstore.errors import (
    Forked,
    LogstoreError,
    ReadOnly,
    Refused,
    TopicExists,
)
from logstore.internals import Internals, Names
from logstore.kept.queues import DEFAULT_VHOST
from logstore.log import Notes
from logstore.open_topics import OpenTopics
from logstore.records.record import Record
from logstore.storage.directory import LocalDirectory, LogSize
from logstore.storage.disk import Disk
from logstore.storage.kinds import JOURNAL, KINDS, LANE, TOPIC
from logstore.storage.names import CONFIG
from logstore.storage.opening import open_directory
from logstore.storage.status import Mode, Status, status
from logstore.storage.users import any_users
from logstore.storage.verify import Report, verify
from logstore.upkeep.backup import Copied, backup
from logstore.upkeep.job import Retained, Rewritten, Tell, untold
from logstore.upkeep.tally import tally, verify_queues, verify_schedules
from logstore.upkeep.upkeep import Upkeep

if TYPE_CHECKING:  # imported when there is one: few programs use both topics and queues, or users
    from logstore.access.audit import Audit
    from logstore.broker.policies import Policy
    from logstore.broker.queues.crossing.about import RouteAbout
    from logstore.broker.queues.handles import Exchange, Queue
    from logstore.broker.shared.share_consumer import ShareConsumer
    from logstore.broker.topics import Scheduled
    from logstore.definitions.exporting import Exported
    from logstore.definitions.planning import Plan
    from logstore.deliveries import Deliveries
    from logstore.store_queues import StoreQueues
    from logstore.store_transaction import Transaction


# Users and permissions of definitions that the audit log is told of one by one, each synced; of
# more it is told how many there were.
TOLD_MAX: Final = 100
_EXCHANGE: Final = "name of an exchange"


class Store:
    """Topics and groups of one data directory, as returned by ``logstore.open``. Thread-safe."""

    def __init__(
        self,
        directory: LocalDirectory,
        mode: Mode,
        clock: Callable[[], int] = now_ms,
        deduplication: Deduplication | None = None,
    ) -> None:
        """``deduplication``: of the directory's logs."""
        self._directory = directory
        self._deduplication = deduplication or Deduplication(clock)
        self._clock = clock
        self._handles = Handles(directory.path)
        self._deliveries: Deliveries | None = None
        self._topics = OpenTopics(directory, clock, others_write=mode == "read")
        self._topics.tell(self._tell_change)
        self._topics.scheduled_by(_Schedules(self))
        self._channels = Channels()
        self._groups = KnownGroups(
            directory.path, lambda: self._resumed().groups, self._open_topics, self._group_deleted
        )
        self._consuming = Consuming(
            self._open_topics, self._groups.table, self.config.store,
            self._handles.flush_producers,
        )  # fmt: skip
        self.mode = mode
        self._audit: Audit | None = None
        self._upkeep = Upkeep(directory, clock)
        self._queues: StoreQueues | None = None
        self._queues_lock = threading.Lock()
        # Whether an earlier process may have committed what is not where it goes.
        self._unresumed = mode == "write" and any(
            entry.kind == JOURNAL.name for _, entry in directory.writable().entries()
        )
        if mode == "write" and self.config.channels:
            self._channels.keep(self.config.channels, self._topics)
        if mode == "write":
            self._upkeep.begin()
            if self._topics.scheduled():
                self._deliver()
        forks.watch(self)

    def forked(self, error: Forked) -> None:
        """As Forkable.forked: everything that was made of this store is of no use here."""
        self._topics.forked(error)
        self._channels.forked(error)
        self._handles.forked(error)
        self._queues_lock = threading.Lock()
        if self._queues is not None:
            self._queues.forked(error)
        if self._deliveries is not None:
            self._deliveries.forked()

    def __repr__(self) -> str:
        return f"<Store {self.path} {self.mode}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def path(self) -> str:
        return self._directory.path

    @property
    def config(self) -> Config:
        return self._directory.config

    def internals(self) -> Internals:
        """The layers below, for nodes and mirrors; not a stable interface. Raises Closed."""
        return Internals(
            self._open(), self._topics, self._channels, self._upkeep.desk, self._store_queues,
            self._upkeep.doing, self._deduplication, self._consumer, self._listener,
        )  # fmt: skip

    def _open(self) -> LocalDirectory:
        self._handles.check_open()
        return self._directory

    def close(self) -> None:
        """Sync everything and release the directory. Raises LogFailed if a sync fails.

        Open producers are flushed. Open consumers leave their groups; the record that a consumer
        returned last does not count as done. In a fork of the process that opened the store,
        nothing happens.
        """
        closings = self._handles.shut()
        if closings is None:
            return
        self._channels.close()
        if self._deliveries is not None:
            self._deliveries.close()
        self._upkeep.close()
        with self._queues_lock:
            if self._queues is not None:
                closings.append(self._queues.close)
        try:
            failure = close_all(closings)
        finally:
            self._directory.close()
        if failure is not None:
            raise failure

    def _has_users(self) -> bool:
        table = self._directory.groups
        return table is not None and any_users(table.environment)

    def _did(self, event: str, what: str) -> None:
        """Whoever has the directory open for writing acts as its owner."""
        if self.mode != "write" or not self._has_users():
            return
        from logstore.access.identity import OWNER

        if self._audit is None:
            from logstore.audit_topic import OwnAudit

            self._audit = OwnAudit(self._topics, self._has_users, self._clock)
        self._audit.tell(event, OWNER, what)

    # Topics

    def topics(self) -> list[str]:
        """The names of all topics, sorted."""
        return list(self._open_topics().names())

    def topic(self, name: str) -> Topic:
        """A topic; its logs are opened at their first use. Raises UnknownTopic, InvalidName."""
        return self._open_topics().topic(name)

    def _open_topics(self) -> OpenTopics:
        self._resumed()
        return self._topics

    def _resumed(self) -> LocalDirectory:
        """With all that earlier processes have committed."""
        directory = self._open()
        if self._unresumed:
            self._store_queues().resume()
            self._unresumed = False
        return directory

    def _deliver(self) -> "Deliveries":
        """Have records moved to their topics when they are due."""
        with self._queues_lock:
            if self._deliveries is None:
                from logstore.deliveries import Deliveries

                table = self._directory.groups
                assert table is not None, "a store that is written has a catalogue"
                self._deliveries = Deliveries(self._topics, table.environment, self._clock)
                self._deliveries.begin()
            return self._deliveries

    def _tell_change(self, change: Change) -> None:
        if self._deliveries is None and change.topic.settings.delivery_schedule:
            self._deliver()
        if change.event in ("created", "deleted"):
            self._channels.tell("topics", f"topic-{change.event}", change.topic.name)

    def create_topic(
        self,
        name: str,
        partitions: int | None = None,
        settings: Mapping[str, str] | None = None,
        *,
        exist_ok: bool = False,
    ) -> Topic:
        """Create a topic; durable on return. ``settings``: Kafka's names, values as text.

        ``exist_ok``: return a topic that already exists, with its own partitions and settings.

        Raises TopicExists, InvalidName, UnknownSetting, InvalidSetting, ReadOnly, StorageFull.
        """
        topics = self._open_topics()
        try:
            return topics.create(name, partitions, settings or {})
        except TopicExists:
            if not exist_ok or name not in topics.names():
                raise
            return topics.topic(name)

    def alter_topic(
        self,
        name: str,
        settings: Mapping[str, str] | None = None,
        reset: Sequence[str] = (),
        partitions: int | None = None,
    ) -> Topic:
        """Set settings, ``reset`` others to their default, add partitions; durable on return.

        Adding partitions changes the partition of keys: older records of a key may be in another
        partition than newer ones. Raises UnknownTopic, UnknownSetting, InvalidSetting, Refused for
        fewer partitions, ReadOnly.
        """
        topic = self._open_topics().alter(name, settings or {}, reset, partitions)
        if settings or reset:
            from logstore.access.audit import of_topic

            self._did("settings", of_topic(name, settings or {}, reset))
        return topic

    def delete_topic(self, name: str) -> None:
        """Delete a topic with its records and the offsets committed in it. Raises UnknownTopic.

        ``leftovers`` names files that could not be removed.
        """
        self._open_topics().delete(name)
        self._did("topic", f"deleted {name}")

    def leftovers(self) -> list[str]:
        """Paths of deleted topics' files that can't be removed, with the reason; tries again."""
        return list(map(str, self._open().leftovers()))

    def describe_topic(self, name: str) -> list[Chosen]:
        """Every setting of the topic, with its source."""
        return self._open_topics().describe(name)

    def sizes(self, name: str) -> list[LogSize]:
        """The size of each partition."""
        return self._open_topics().sizes(name)

    # What waits for its time

    def scheduled(
        self,
        topic: str,
        *,
        after: tuple[int, int, int] | None = None,
        most: int = 100,
    ) -> "Iterator[Scheduled]":
        """The delayed records of a topic with ``delivery.schedule=true``, in the order they are
        due.

        At most ``most`` of them; ``after``: the due time (ms), partition and offset after which to
        start. A record is listed a moment after its append. Raises UnknownTopic.
        """
        return self._listed(topic, after, most)

    def _listed(
        self, topic: str, after: tuple[int, int, int] | None, most: int
    ) -> "Iterator[Scheduled]":
        from logstore.deliveries import listed

        table = self._open().groups
        if table is None:
            return iter(())
        return listed(self._topics, table.environment, topic, after, most)

    def cancel(self, topic: str, partition: int, offset: int) -> None:
        """Cancel the delayed record at this offset of the companion topic. Durable on return.

        Raises NotWaiting if the record was delivered or cancelled, UnknownTopic, UnknownPartition,
        ReadOnly.
        """
        self._cancel(topic, partition, offset)
        self._did("records", f"cancelled {topic}-{partition} at {offset}")

    def _cancel(self, topic: str, partition: int, offset: int) -> None:
        if self.mode == "read":
            raise ReadOnly(f"{self.path}: the store is open for reading")
        self._open()
        self._deliver().cancel(topic, partition, offset)

    # Producing and consuming

    def producer(
        self, topic: str, *, batch_bytes: int = BATCH_BYTES, compression: str | None = None
    ) -> Producer:
        """Raises UnknownTopic, ReadOnly, InvalidSetting."""
        if self.mode == "read":
            raise ReadOnly(f"{self.path}: the store is open for reading")
        return self._handles.producer(self.topic(topic), batch_bytes, compression)

    def consumer(
        self,
        *topics: str,
        group: str | None = None,
        start: Starts = "earliest",
        follow: bool = False,
        partitions: Sequence[int] | None = None,
        on_damage: OnDamage = "stop",
        on_out_of_range: OnOutOfRange = "stop",
        auto_commit: bool = True,
        isolation: Isolation = "committed",
        end: Start | None = None,
    ) -> Consumer:
        """A consumer of ``topics`` (all partitions of each, or ``partitions``) from ``start``.

        Consumers of one group, in this process or others, share the partitions. ``start``: one
        place for all partitions, or an offset for each (topic, partition); partitions without one
        are read from their beginning. A consumer with a group continues where the group committed;
        ``start`` applies only to partitions without a committed offset. Without ``follow``,
        iteration stops at the end of the partitions.

        ``auto_commit``: a member of a group commits the offsets of finished records every
        ``consumer.commit.ms`` and when it is closed. Before each commit, everything sent to this
        store's producers is synced, so that no record counts as read before the records made from
        it are safe. False: only ``commit`` commits.

        ``on_damage``: the treatment of a batch that can't be read. ``"stop"``: the partition is not
        read further, and CorruptBatch is raised when the other partitions have no more records.
        ``"skip"``: the batch is skipped, and a line is logged. A function is called with the
        CorruptBatch, and the batch is skipped.

        ``on_out_of_range``: the treatment of a partition whose log no longer has the group's offset
        or the next record to read. ``"stop"``: OffsetOutOfRange is raised. ``"earliest"``,
        ``"latest"``: reading continues there, and a line is logged.

        ``isolation``: ``"committed"`` leaves out records of aborted transactions and waits for open
        transactions (KIP-98); ``"uncommitted"`` returns every record.

        ``end``: each partition is read up to this offset, or up to its first record of this time or
        later, without that record. Not with ``follow``.

        Raises UnknownTopic, UnknownPartition, InvalidName, OffsetBelowStart, OffsetAboveEnd;
        GroupBusy if clients of a server consume as the group.
        """
        wish = Wish(
            topics, partitions, group, start, follow, on_damage, on_out_of_range, auto_commit,
            isolation, end,
        )  # fmt: skip
        return self._consumer(wish, OWN_THREADS)

    def _consumer(self, wish: Wish, chores: Chores) -> Consumer:
        return self._handles.consumer(self._consuming.consumer(wish, chores))

    def share_consumer(
        self,
        *topics: str,
        group: str,
        explicit: bool = False,
        prefetch: int = 100,
        auto_offset_reset: str | None = None,
        isolation: Isolation | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> "ShareConsumer":
        """A member of a share group (KIP-932) that reads ``topics``; records are shared one by one.

        This consumer holds each record for share.record.lock.duration.ms. A record that is neither
        accepted nor rejected by then is delivered to any member again, up to
        share.delivery.count.limit times. Works only in the process that writes the store; if a
        server has the store open, Kafka clients are the members.

        ``explicit``: call ``accept``, ``release`` or ``reject`` for each record. Otherwise returned
        records are accepted when more are asked for; the last ones returned are not accepted at the
        end. Acceptance is durable after ``flush`` or the end. ``prefetch``: the number of records
        taken at once. ``auto_offset_reset`` (where the group begins: earliest, latest,
        ``by_duration:PT1H``), ``isolation`` and ``settings`` (Kafka's names) are stored as the
        group's settings; None: unchanged.

        Raises UnknownTopic, GroupBusy if a group of this name commits offsets, UnknownSetting,
        InvalidSetting, ReadOnly, StorageFull; Refused.
        """
        if self.mode == "read":
            raise ReadOnly(f"{self.path}: the store is open for reading")
        from logstore.store_shares import settings_of

        found = [self.topic(it) for it in dict.fromkeys(topics)]
        given = settings_of(auto_offset_reset, isolation, settings or {})
        shares = self._store_queues().shares()
        return shares.consumer(found, group, prefetch, given, explicit=explicit)

    def transaction(self) -> "Transaction":
        """A transaction: its ``with`` block takes effect as a whole or not at all, durable at its
        end.

        It may contain records for topics, messages for exchanges, acknowledgements, and offsets of
        consumers' groups, which are held in memory until then, at most 16 MiB. After an exception
        in the block, nothing takes effect. Readers see the results a moment later; ``positions``
        waits for that. Raises ReadOnly.
        """
        if self.mode == "read":
            raise ReadOnly(f"{self.path}: the store is open for reading")
        from logstore.store_transaction import Transaction

        return Transaction(self._store_queues(), self.topic, self._handles.flush_producers)

    # Channels

    def channel(self, name: str | bytes) -> Channel:
        """A channel. Creates and stores nothing."""
        return Channel(_as_bytes(name), self._channels, self._listen)

    def _listen(self, name: bytes) -> Listener:
        return self.listen(name)

    def listen(self, *names: str | bytes, patterns: Iterable[str | bytes] = ()) -> Listener:
        """A listener for new messages of these channels, and of channels that match a pattern.

        Patterns have Redis's syntax: ``news.*``, ``h?llo``, ``h[a-c]llo``. Raises Closed,
        InvalidName.
        """
        return self._listener(names, patterns)

    def _listener(
        self, names: Names, patterns: Names, told: Callable[[], object] = lambda: None
    ) -> Listener:
        self._open()
        named, matched = map(_as_bytes, names), map(_as_bytes, patterns)
        return self._handles.listener(partial(Listener, self._channels, named, matched, told=told))

    # Exchanges and queues

    def exchange(
        self,
        name: str,
        type: str | None = None,
        *,
        durable: bool = True,
        auto_delete: bool = False,
        internal: bool = False,
        alternate: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        vhost: str = DEFAULT_VHOST,
    ) -> "Exchange":
        """An existing exchange; with ``type``, it is declared unless it exists. Durable on return.

        ``type``: direct, topic, fanout, headers, x-consistent-hash, x-random, x-topic, x-channel,
        x-delayed-message, x-message-deduplication, or an installed type. ``alternate``: the
        exchange that receives messages for which no binding matches. ``auto_delete``: the exchange
        is deleted with its last binding. ``internal``: only exchanges may publish to it. ``vhost``:
        its virtual host.

        Raises NoExchange if it does not exist and there is no ``type``; Inequivalent if it exists
        and differs; UnknownType, Reserved, NoVhost, ReadOnly, StorageFull.
        """
        from logstore.broker.queues.handles import declare_exchange

        return declare_exchange(
            self._store_queues().within(vhost), name, type, durable=durable,
            auto_delete=auto_delete, internal=internal, alternate=alternate, arguments=arguments,
        )  # fmt: skip

    def queue(
        self,
        name: str = "",
        *,
        durable: bool = True,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: Mapping[str, Any] | None = None,
        vhost: str = DEFAULT_VHOST,
        **given: object,
    ) -> "Queue":
        """A queue, declared unless it exists; durable on return. Without a name it gets a new one.

        Arguments are RabbitMQ's: spelled as RabbitMQ does in ``arguments``, or as
        ``max_priority=5``, ``message_ttl=60_000``, ``dead_letter_exchange="dead"``. A durable queue
        without arguments may exist with any arguments. ``durable=False`` and ``exclusive``: its
        messages are lost when the store is closed. ``auto_delete``: the queue is deleted with its
        last consumer.

        Only the process that writes a store can use its queues. Raises QueueDiffers if it exists
        and differs, InvalidQueueArgument, ReservedName, InvalidName, NoVhost, Refused, ReadOnly,
        StorageFull.
        """
        from logstore.broker.queues.handles import declare_queue

        return declare_queue(
            self._store_queues().within(vhost), name, durable=durable, exclusive=exclusive,
            auto_delete=auto_delete, arguments=arguments, given=given,
        )  # fmt: skip

    def exchanges(self, *, vhost: str = DEFAULT_VHOST) -> list[str]:
        """The names of all exchanges, sorted; the default exchange has the empty name. Raises
        NoVhost, ReadOnly.
        """
        from logstore.amqp.fields import text

        return (
            self._store_queues()
            .within(vhost)
            .do(lambda vhost: sorted(text(it.name) for it in vhost.topology.exchanges()))
        )

    def queues(self, *, vhost: str = DEFAULT_VHOST) -> list[str]:
        """The names of all queues, sorted. Raises NoVhost, ReadOnly."""
        from logstore.amqp.fields import text

        return (
            self._store_queues()
            .within(vhost)
            .do(lambda vhost: sorted(text(it.facts.name) for it in vhost.queues()))
        )

    def vhosts(self) -> list[str]:
        """The names of all virtual hosts, sorted; "/" always exists. Raises ReadOnly."""
        from logstore.amqp.fields import text

        return sorted(map(text, self._store_queues().vhosts()))

    def add_vhost(self, name: str) -> None:
        """Add a virtual host, unless it exists; durable on return.

        Each virtual host has its own exchanges and queues. Raises InvalidName, ReadOnly,
        StorageFull.
        """
        from logstore.amqp.fields import data

        self._store_queues().add_vhost(data(name))
        self._did("virtual-host", f"made {name}")

    def delete_vhost(self, name: str) -> None:
        """Delete a virtual host with its contents and permissions; durable on return.

        Raises NoVhost, DefaultVhost, ReadOnly, StorageFull.
        """
        from logstore.amqp.fields import data
        from logstore.kept.queues import DEFAULT_VHOST

        queues = self._store_queues()
        if name != DEFAULT_VHOST and data(name) in queues.vhosts():
            self._forget_permitted(name)
        queues.delete_vhost(data(name))
        self._did("virtual-host", f"deleted {name}")

    def route_topic(
        self,
        topic: str,
        exchange: str,
        *,
        key: str = "{key}",
        fallback: str | None = None,
        start: Start = "earliest",
        vhost: str = DEFAULT_VHOST,
    ) -> "RouteAbout":
        """Publish the records of a topic to an exchange, too, from ``start`` on.

        ``key`` is the template of routing keys, of {key}, {topic}, {partition} and {header:NAME}; a
        default is written ``{header:NAME|none}``. ``fallback``: the routing key of a record that
        lacks a part of the template. Each record is published once, in the order of its partition;
        the progress is stored as a group's offsets. Repeating the call has no effect. A server
        continues the route on its own; without a server, the route advances while exchanges and
        queues are used.

        Raises UnknownTopic, NoExchange, InternalExchange, RouteDiffers, Circular, NoVhost,
        OffsetOutOfRange, ReadOnly; Refused for an invalid template.
        """
        from logstore.amqp.fields import data
        from logstore.broker.queues.crossing import library
        from logstore.broker.queues.given import name_of

        about = library.add(
            self._store_queues(),
            data(vhost),
            topic,
            name_of(exchange, _EXCHANGE),
            key,
            fallback,
            start,
        )
        self._store_queues().did(
            "topic", f"routed topic {topic} to exchange", exchange, data(vhost)
        )
        return about

    def topic_routes(self, *, vhost: str = DEFAULT_VHOST) -> "list[RouteAbout]":
        """The topics published to exchanges of this virtual host, with the progress of each. Raises
        NoVhost, ReadOnly.
        """
        from logstore.amqp.fields import data
        from logstore.broker.queues.crossing import library

        return library.listed(self._store_queues(), data(vhost))

    def unroute_topic(self, topic: str, exchange: str, *, vhost: str = DEFAULT_VHOST) -> None:
        """Stop publishing a topic to an exchange, and delete the progress; durable on return.
        Raises NoRoute, NoVhost.
        """
        from logstore.amqp.fields import data
        from logstore.broker.queues.crossing import library
        from logstore.broker.queues.given import name_of

        library.remove(self._store_queues(), data(vhost), topic, name_of(exchange, _EXCHANGE))
        what = f"unrouted topic {topic} from exchange"
        self._store_queues().did("topic", what, exchange, data(vhost))

    def policies(self, *, vhost: str = DEFAULT_VHOST) -> "list[Policy]":
        """The policies of a virtual host, highest priority first. Raises NoVhost, ReadOnly."""
        desk = self._store_queues().within(vhost)
        return desk.do(lambda vhost: list(vhost.policies))

    def set_policy(
        self,
        name: str,
        pattern: str,
        definition: Mapping[str, Any],
        *,
        priority: float = 0,
        apply_to: str = "all",
        vhost: str = DEFAULT_VHOST,
    ) -> None:
        """Set a policy, replacing one of the same name; durable and in effect on return.

        ``pattern`` is a regular expression that is searched for in the names of queues and
        exchanges; ``definition`` holds the limits of those that match, such as ``{"max-length":
        1000}``. Of several policies that match, the one with the highest priority applies.
        ``apply_to``: all, queues, exchanges, classic_queues, quorum_queues or streams. Policies
        work as in RabbitMQ. Raises NoVhost, InvalidPolicy, TooManyPolicies, ReadOnly, StorageFull.
        """
        from logstore.amqp.fields import data
        from logstore.broker.policies import Policy

        policy = Policy(name, pattern, definition, priority, apply_to)
        self._store_queues().set_policies(data(vhost), [policy])
        self._store_queues().did("policy", "set policy", name, data(vhost))

    def delete_policy(self, name: str, *, vhost: str = DEFAULT_VHOST) -> None:
        """Delete a policy; durable on return. Raises NoVhost, NoPolicy, ReadOnly, StorageFull."""
        from logstore.amqp.fields import data
        from logstore.broker.policies import NoPolicy

        if name not in {it.name for it in self.policies(vhost=vhost)}:
            raise NoPolicy(name, vhost)
        self._store_queues().set_policies(data(vhost), (), [name])
        self._store_queues().did("policy", "deleted policy", name, data(vhost))

    def export_definitions(self, *, vhost: str | None = None) -> "Exported":
        """All users, virtual hosts, permissions, policies, exchanges, queues and bindings.

        The format is the JSON that RabbitMQ's tools import; notes name definitions that RabbitMQ
        does not know. ``vhost``: only the contents of this virtual host. Raises NoVhost, ReadOnly.
        """
        from logstore.amqp.fields import data
        from logstore.definitions.exporting import arranged, export, told

        access = self.internals().access()
        version = self.config.store.amqp_server_version
        found: Exported = self._store_queues().long(
            lambda queues: export(
                queues, access, version, None if vhost is None else queues.vhost(data(vhost))
            )
        )
        self._did("definitions", told(vhost))
        return arranged(found)

    def import_definitions(
        self, definitions: bytes, *, vhost: str | None = None, dry_run: bool = False
    ) -> "Plan":
        """Import definitions, as RabbitMQ's tools export them; durable on return.

        If a definition contradicts an existing one, the import is refused before anything is
        changed. After an interruption, the same definitions can be imported again. ``vhost``:
        import everything into this virtual host. ``dry_run``: change nothing, only report. The
        result counts added and changed objects, and names definitions that have no effect. Raises
        InvalidDefinitions, NoVhost, ReadOnly, StorageFull.
        """
        from logstore.access.audit import Unheard
        from logstore.access.identity import OWNER
        from logstore.amqp.fields import data
        from logstore.definitions.carrying import carry_out
        from logstore.definitions.planning import Plan, Planner
        from logstore.definitions.reading import read

        queues, access = self._store_queues(), self.internals().access()
        if vhost is not None and data(vhost) not in queues.vhosts():
            from logstore.broker.queues.refusals import NoVhost

            raise NoVhost(data(vhost))
        wanted = read(definitions, vhost)
        plan: Plan = queues.long(lambda it: Planner(it, access, wanted).steps())
        if not dry_run:
            if len(plan.users) + len(plan.permissions) > TOLD_MAX:
                access.audit = Unheard()
            queues.long(lambda it: carry_out(plan, it, access, OWNER))
            self._did("definitions", f"taken: {plan.said()}")
        return plan

    def _forget_permitted(self, vhost: str) -> None:
        """First, since another one of that name is to begin with nothing."""
        from logstore.access.administration import without_vhost
        from logstore.access.identity import OWNER

        access = self.internals().access()
        change = without_vhost(access, vhost)
        if change.forget:
            error = access.change(*change, by=OWNER).error
            if error is not None:
                raise error

    def _store_queues(self) -> "StoreQueues":
        self._open()
        with self._queues_lock:
            if self._queues is None:
                from logstore.store_queues import StoreQueues

                self._queues = StoreQueues(
                    self._directory, self._clock, self._did, self._topics, self._channels,
                    self._deduplication,
                )  # fmt: skip
        return self._queues

    def offset_for(self, topic: str, partition: int, timestamp_ms: int) -> int:
        """The offset of the first record of this time or later; the end if there is none."""
        return self.topic(topic).partition(partition).find(timestamp_ms)

    def replay(
        self,
        topic: str,
        *,
        from_ms: int | None = None,
        to_ms: int | None = None,
        speed: float = 0.0,
        sleep: Callable[[float], object] = time.sleep,
        on_damage: OnDamage = "stop",
    ) -> Iterator[list[Record]]:
        """Records with ``from_ms <= timestamp < to_ms``; partitions are merged by timestamp.

        Within a partition, records keep the order of their offsets; uncommitted records are left
        out. ``speed``: 1 is real time, 3600 an hour per second, 0 without waiting;
        ``sleep(seconds)`` does the waiting. ``on_damage``: as in ``consumer``. Raises UnknownTopic,
        CorruptBatch.
        """
        if not 0 <= speed < float("inf"):
            raise Refused(f"speed {speed}: must be 0 (no waiting) or more")
        logs = map(CommittedLog, self.topic(topic).partitions)
        places = {(topic, number): log for number, log in enumerate(logs)}
        return replay(places, from_ms, to_ms, speed, sleep=sleep, skip=skip_of(on_damage))

    # Groups

    def _group_deleted(self, name: str) -> None:
        self._did("group", f"deleted {name}")

    def groups(self) -> list[str]:
        """The names of all groups, sorted."""
        return self._groups.names()

    def group(self, name: str) -> Group:
        """Raises UnknownGroup."""
        return self._groups.group(name)

    def expire_offsets(self) -> list[str]:
        """Delete offsets older than ``offsets.retention.minutes``; returns the groups without any
        offsets left. Raises ReadOnly.
        """
        minutes = self.config.store.offsets_retention_minutes
        return self._groups.table().expire(minutes)

    # Users

    def users(self) -> dict[str, tuple[str, ...]]:
        """The tags of each user, by name, sorted; ``status`` names damaged rows."""
        found = self.internals().access().users
        return {name: found[name].tags for name in sorted(found)}

    # Upkeep

    def trim(
        self,
        topic: str,
        before: Start,
        partitions: Sequence[int] | None = None,
        *,
        dry_run: bool = False,
    ) -> list[Trim]:
        """Delete the records before an offset or a time, in all partitions or in these; durable on
        return.

        Whole segments are removed, the remaining records are hidden. Nothing is deleted if one of
        the partitions can't be trimmed to the place. Raises UnknownTopic, UnknownPartition,
        ReadOnly, OffsetAboveEnd; OffsetBelowStart if the records are already deleted.
        """
        trims = trim(self.topic(topic), before, partitions, dry_run=dry_run)
        for it in trims if not dry_run else ():
            what = f"deleted of {topic}-{it.partition} those before {it.start_after}"
            self._did("records", what)
        return trims

    def retention(
        self, *topics: str, dry_run: bool = False, tell: Tell = untold
    ) -> Iterator[Retained]:
        """Delete expired segments of these topics, or of all; returns the outcome for each log.

        ``dry_run``: only report. ``tell`` is called with the progress of a log, as in the methods
        below. A damaged log keeps all its segments. Raises UnknownTopic, ReadOnly.
        """
        return self._upkeep_open().retention(topics, dry_run=dry_run, tell=tell)

    def compaction(
        self, *topics: str, dry_run: bool = False, seal: bool = False, tell: Tell = untold
    ) -> Iterator[Rewritten]:
        """Compact logs with enough uncompacted records, of these topics or of all compacted ones.

        Without topics, settled messages behind unsettled ones are removed from queues, too. Returns
        the outcomes. ``dry_run``: only report. ``seal``: start new segments, and compact everything
        before them, however little it is. Raises UnknownTopic, ReadOnly.
        """
        return self._upkeep_open().compaction(topics, dry_run=dry_run, seal=seal, tell=tell)

    def recompression(
        self, *topics: str, dry_run: bool = False, seal: bool = False, tell: Tell = untold
    ) -> Iterator[Rewritten]:
        """Recompress sealed segments where compression.sealed is set; returns the outcomes.

        In these topics, or in all. ``dry_run``: only report. ``seal``: start new segments first, so
        that every record is in a sealed one. Raises UnknownTopic, ReadOnly.
        """
        return self._upkeep_open().recompression(topics, dry_run=dry_run, seal=seal, tell=tell)

    def _upkeep_open(self) -> Upkeep:
        self._open()
        return self._upkeep

    def backup(self, target: str | os.PathLike[str]) -> Iterator[Copied]:
        """Copy the store consistently into a new directory; yields each file when it is copied.

        Producers and consumers may continue meanwhile. Raises Refused, ReadOnly, StorageFull,
        CorruptBatch.
        """
        return backup(self._open(), os.path.abspath(target), self._clock())

    # The whole

    def verify(self, topic: str | None = None, *, repair: bool = False) -> Iterator[Report]:
        """Read everything, or one topic, and report all damage.

        Without a topic, also compares queues, their journal and their lanes. ``repair`` rebuilds
        wrong indexes and changes nothing else. Raises UnknownTopic; with ``repair`` ReadOnly,
        StorageFull.
        """
        directory = self._open()
        reports = verify(directory, topic, repair=repair)
        return (
            reports
            if topic is not None
            else chain(reports, verify_queues(directory), verify_schedules(directory))
        )

    def status(self) -> Status:
        """The status of the store. Checks both ends of each log for damage; ``verify`` reads
        everything.
        """
        directory = self._open()
        try:
            held = tally(directory)
        except LogstoreError as error:  # of the journal, which is looked at below, or of its notes
            found = status(directory)
            return replace(found, damaged=(*found.damaged, f"queues: {error}"))
        return status(directory, *held)


NOTHING_DELIVERED: Final = ScheduleCounts()


class _Schedules:
    """The ``Schedules`` of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def counts(self) -> ScheduleCounts:
        """As Schedules.counts."""
        deliveries = self._store._deliveries
        return NOTHING_DELIVERED if deliveries is None else deliveries.counted

    def waiting(self) -> Mapping[str, int]:
        """As Schedules.waiting."""
        deliveries = self._store._deliveries
        return {} if deliveries is None else deliveries.waiting()

    def listed(
        self, topic: str, after: tuple[int, int, int] | None, most: int
    ) -> "Iterable[Scheduled]":
        """As Schedules.listed."""
        return self._store._listed(topic, after, most)

    def cancel(self, topic: str, partition: int, offset: int) -> None:
        """As Schedules.cancel."""
        self._store._cancel(topic, partition, offset)


def _as_bytes(name: str | bytes) -> bytes:
    return name.encode() if isinstance(name, str) else name


def open_store(
    path: str | os.PathLike[str],
    mode: Mode = "write",
    *,
    config: Config | None = None,
    create: bool = True,
    disk: Disk | None = None,
    clock: Callable[[], int] = now_ms,
) -> Store:
    """Open a data directory.

    ``write``: the one writing process; makes the directory unless ``create`` is False. ``read``:
    beside a writer or without one; also takes a directory of bare Kafka-format partitions.
    Without ``config``: ``<path>/logstore.toml`` and the environment.
    Raises NotAStore, StoreLocked, SchemaTooNew, CorruptStore, ReadOnly, StorageFull,
    UnknownSetting, InvalidSetting.
    """
    if mode not in ("write", "read"):
        raise Refused(f"mode {mode!r}: must be write or read")
    name = os.path.abspath(path)
    if config is None:
        config = Config.load(Path(name) / CONFIG, os.environ)
    expiration_ms = config.store.producer_id_expiration_ms
    once = Deduplication(clock, config.store.deduplication_memory_bytes)
    topics = replace(TOPIC, notes=lambda: Ledger(clock, expiration_ms, once.of_log))
    directory = open_directory(
        name, mode, config, disk or Disk(), create=create, clock=clock,
        kinds={
            **KINDS, TOPIC.name: topics, LANE.name: replace(LANE, notes=lambda: _lane_notes(once)),
            JOURNAL.name: replace(JOURNAL, notes=lambda: _settlements(once)),
        },
    )  # fmt: skip
    return Store(directory, mode, clock, once)


def _settlements(once: Deduplication) -> Notes:
    """Of the journal; imported where there is one: few stores have queues."""
    from logstore.broker.queues.journal import SettlementNotes

    return SettlementNotes(once)


def _lane_notes(once: Deduplication) -> Notes:
    """Of a lane; imported as above."""
    from logstore.broker.queues.lane_notes import LaneNotes

    return LaneNotes(once)
