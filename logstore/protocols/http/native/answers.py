"""The replies of /api/v1 as types, for their description. A test compares real replies with them.

Fields may be added; existing ones stay. A ``str`` with a number may be larger than JavaScript's
integers; None means unknown, or absent.
"""

from typing import Any, Final, Generic, Literal, TypeVar

from msgspec import UNSET, Struct, UnsetType, field

T = TypeVar("T")
Rate = float | None  # a second; None while it is not known


class Listed(Struct, Generic[T]):
    """A page of a list."""

    items: list[T]
    page: int
    page_size: int
    pages: int
    total: int


class Content(Struct):
    """Bytes: as text if they are UTF-8, otherwise in base64; perhaps only a preview."""

    text: str | None = None
    base64: str | None = None


# The process


class Who(Struct):
    user: str
    tags: list[str]
    owner: bool  # of the data directory
    login_needed: bool
    cluster: bool  # whether the server is a node of one, for who may see all facts
    directory: str | None  # that the server has, for who may see all facts


class Ready(Struct):
    status: Literal["ok", "error"]
    failed: list[str]


class Server(Struct):
    version: str
    process_id: int
    command: str
    since_ms: int
    path: str
    store_id: str
    doors: dict[str, "Address"]


class Address(Struct):
    host: str
    port: int


class Check(Struct):
    name: str
    state: Literal["ok", "warning", "error"]
    found: str
    advice: str  # "": nothing is to be done


class Doctor(Struct):
    state: Literal["ok", "warning", "error"]
    checks: list[Check]


class Job(Struct):
    name: str
    object: str
    began_ms: int
    ended_ms: int
    took_ms: int
    logs: int
    outcome: str
    error: str | None
    by_itself: bool
    dry_run: bool


class Jobs(Struct):
    running: list[dict[str, Any]]
    history: list[Job]


class Flow(Struct):
    in_per_s: Rate
    out_per_s: Rate
    bytes_in_per_s: Rate
    bytes_out_per_s: Rate


class Flows(Struct):
    in_per_s: Rate
    out_per_s: Rate
    waiting: int | str
    doors: dict[str, Flow]


class Warned(Struct):
    what: str
    object: str
    view: str  # of the page


class Health(Struct):
    state: Literal["ok", "warning", "error"]
    warnings: list[Warned]  # the first of them
    warnings_total: int


class Stuck(Struct):
    kind: str
    object: str
    detail: str
    since_ms: int | None
    view: str
    vhost: str  # of a queue


class Full(Struct):
    what: str
    used: int | str
    limit: int | str
    share: float
    full_in_s: float | None
    view: str
    unit: Literal["", "bytes"]
    nearly: bool  # somebody should know


class OpenDoor(Struct):
    name: str
    address: str
    tls: bool
    connections: int


class Overview(Struct):
    version: str
    uptime_s: int
    health: Health
    flows: Flows
    stuck: list[Stuck]
    full: list[Full]
    doors: list[OpenDoor]
    jobs: list[dict[str, Any]]
    counts: dict[str, int | None]
    stuck_total: int
    slow_clients: int  # that were cut off in the last hour, and had left unread what they were sent
    history: "FlowHistory | UnsetType" = UNSET  # events have none


class Broker(Struct):
    id: int
    address: str
    rack: str
    controller: bool


class OwnedPartition(Struct):
    """A partition that one node at a time owns.

    In the queues' journal, queue number n belongs to partition n % their count. For keys, each
    partition is a database.
    """

    partition: int
    state: Literal["here", "elsewhere", "unreached", "taking", "nobody"]
    node: str | None  # that has claimed it last
    address: str | None  # of that node's links
    since_ms: int | None
    epoch: int | None  # of its fence
    why: str | None  # nobody serves it, or the owner is not reached


class Behind(Struct):
    log: str
    bytes: int
    appends: int
    waits_s: float  # the first of them


class Cluster(Struct):
    cluster: str  # as the settings say
    cluster_id: str
    failure: str | None  # why it was not to be asked last
    node: str  # this one
    no_queues: str | None  # why it serves none
    assigned_by: Literal["group", "classic"] | None
    group_failure: str | None  # why it has no part in the group of nodes
    brokers: list[Broker]
    partitions: list[OwnedPartition]  # of the queues' journal
    databases: list[OwnedPartition]  # of keys
    bytes: int  # that were appended here, and the cluster has not acknowledged
    appends: int
    behind: list[Behind]  # of these the partitions that wait longest
    stalled: int  # partitions that wait for more than 2 s
    stalls: int  # since the start, and over
    stalled_s: float  # in these
    facts_unread: int  # records of what all nodes know that this one has not read
    facts_failure: str | None


class FlowHistory(Struct):
    """The last hour of all doors together, oldest first."""

    step_s: int
    waiting: list[float | None]
    into: list[Rate] = field(name="in")
    out: list[Rate] = field()


class MqttSession(Struct):
    client: str  # its id
    user: str
    connected: bool
    peer: str | None  # where it is connected from
    version: str  # of the protocol
    expiry_s: int | None  # after its connection is gone; None: never
    left_ms: int | None  # when that was
    expires_ms: int | None
    subscriptions: int
    queue: str | None  # where its messages wait; None: it has asked for none that do
    ready: int | None  # messages that wait
    unacked: int  # that it was sent and has not acknowledged
    window: int | None  # how many of these there may be
    memory_bytes: int


class Transaction(Struct):
    """A transactional id of Kafka's producers."""

    id: str
    state: str  # as Kafka's tools have it
    producer_id: str
    epoch: int
    timeout_ms: int
    began_ms: int | None  # the open transaction; None: none is
    since_ms: int  # when its state has changed
    partitions: int  # that the open transaction has written to


class TransactionPart(Struct):
    topic: str | None  # None: it was deleted
    partition: int
    first_offset: str
    holds_back: bool  # readers of committed records stop at that offset


class TransactionWhole(Transaction):
    parts: list[TransactionPart]  # some of the partitions
    groups: list[str]  # whose offsets it commits


class KeysDatabase(Struct):
    """One of Redis's databases."""

    database: int
    topic: str
    keys: int
    expiring: int
    bytes: int
    hits: int
    misses: int
    expired: int
    evicted: int


class Key(Struct):
    """A key of Redis, with its value in part."""

    key: str
    type: str  # string, list, hash, set or zset
    expires_ms: int | None
    bytes: int  # of the value, about
    elements: int | None  # how many it has; None: it is a string
    # Of a string its beginning; else of each of the first elements its parts: a field and its
    # value, a member and its score, or itself. None: one may not read it.
    value: Content | list[list[Content]] | None


class KeysScanned(Struct):
    """Some of the keys of a database."""

    items: list[Key]
    cursor: str | None  # where to go on; None: these were the last
    looked_at: int  # keys
    keys: int  # of the database, those among them that one may not know of


class KeysFound(Struct):
    """Redis's keys, in figures."""

    loading: bool
    damage: str | None
    failing: str | None
    databases: list[KeysDatabase]


class MqttSubscription(Struct):
    filter: str
    qos: int
    no_local: bool
    retain_as_published: bool
    id: int | None


class Connection(Struct):
    id: int
    door: str
    peer: str
    user: str
    client: str
    tls: bool
    since_ms: int
    bytes_in: str
    bytes_out: str
    in_per_s: Rate
    out_per_s: Rate
    unsent: int
    state: str
    about: dict[str, Any]
    address: str  # of this end
    software: str  # that the client says it is
    unread_max: int  # bytes; beyond it is cut off; 0: not known


class Audited(Struct):
    offset: str
    time_ms: int
    first_ms: int
    event: str
    outcome: Literal["done", "refused"]
    user: str
    host: str
    door: str
    mechanism: str
    what: str
    count: int


class AuditLog(Listed[Audited]):
    complete: bool = True  # False: there may be more than ``total``


class Setting(Struct):
    name: str
    value: str
    source: str
    default: str
    unit: str
    takes: str
    help: str


# Topics and groups


class Topic(Struct):
    name: str
    kind: str
    internal: bool
    partitions: int
    records: str | None
    bytes: str | None
    cleanup_policy: str
    retention_ms: int | str  # a text beyond 2^53 - 1
    retention_bytes: str
    groups: int | None
    created_ms: int
    id: str
    error: str | None
    in_per_s: Rate


class TopicHistory(Struct):
    step_s: float
    in_: list[Rate] = field(name="in")  # records a second


class TopicWhole(Topic):
    history: TopicHistory = field(default_factory=lambda: TopicHistory(0.0, []))


class TopicMade(Struct):
    name: str
    partitions: int
    settings: list[Setting]  # of its own
    dry_run: bool


class TopicGrown(Struct):
    name: str
    dry_run: bool
    from_: int = field(name="from")
    to: int


class TopicDeleted(Struct):
    name: str
    partitions: int
    records: str | None
    bytes: str | None
    groups: list[str]  # that have committed offsets in it
    dry_run: bool


class SettingChanged(Struct):
    name: str
    from_: str = field(name="from")
    to: str
    source: str


class SettingsChanged(Struct):
    name: str
    changed: list[SettingChanged]
    dry_run: bool


class PartitionTrimmed(Struct):
    partition: int
    from_: str = field(name="from")  # its first offset, before and after
    to: str
    records: str


class Trimmed(Struct):
    name: str
    partitions: list[PartitionTrimmed]
    records: str
    dry_run: bool


class Segment(Struct):
    base_offset: str
    bytes: str
    records: str | None
    last_ms: int | None
    active: bool


class Repeats(Struct):
    """The deduplication of an object; null without it."""

    ids: int  # that are remembered
    kept_out: int  # repeats, since the process began or has it
    forgotten: int  # ids, for lack of memory or by a bound


class Holder(Struct):
    producer_id: str
    transactional_id: str | None  # None: unknown, or still being read
    began_ms: int | None


class Partition(Struct):
    partition: int
    start: str | None
    safe: str | None
    end: str | None
    bytes: str | None
    segments: list[Segment]  # some of the last
    segments_total: int | None
    error: str | None
    repeats: Repeats | None
    stable: str | None  # as far as readers of committed records come
    held_by: Holder | None  # who has a transaction open there


class Record(Struct):
    partition: int
    offset: str
    time_ms: int
    key: Content | None
    key_bytes: int | None
    value: Content | None
    value_bytes: int | None
    truncated: bool
    headers: list[list[Any]]  # each a name and a Content, or null
    headers_total: int


class Appended(Struct):
    partition: int
    offset: str
    time_ms: int


class GroupRow(Struct):
    name: str
    kind: str
    state: str | None
    members: int | None
    topics: int
    lag: str | None
    lag_per_s: Rate
    error: str | None


class Member(Struct):
    id: str
    client_id: str
    host: str
    instance_id: str | None
    assignment: list[dict[str, Any]] | None


class GroupPartition(Struct):
    topic: str
    partition: int
    committed: str | None
    commit_ms: int | None
    metadata: str | None
    start: str | None
    end: str | None
    lag: str | None
    owner: str | None
    oldest_unread_ms: int | None
    readers: int  # members; more than one read it in a share group alone


class GroupLag(Struct):
    step_s: float
    lag: list[float | None]


class Group(Struct):
    name: str
    kind: str
    state: str
    protocol: str
    epoch: int
    members: list[Member]  # no more than 500
    members_total: int
    partitions: list[GroupPartition]  # a page of them
    partitions_total: int
    page: int
    page_size: int
    pages: int
    lag: str | None
    lag_per_s: Rate
    history: GroupLag


class GroupMoved(Struct):
    topic: str
    partition: int
    from_: str | None = field(name="from")
    to: str


class GroupWasReset(Struct):
    name: str
    partitions: list[GroupMoved]
    dry_run: bool


class GroupDeleted(Struct):
    name: str
    kind: str
    offsets: int  # partitions in which it had committed
    topics: list[str]
    dry_run: bool


# Exchanges, queues, channels


class Vhost(Struct):
    name: str
    exchanges: int
    queues: int


class Exchange(Struct):
    vhost: str
    name: str
    type: str
    durable: bool
    auto_delete: bool
    internal: bool
    arguments: dict[str, Any]
    bindings: int
    policy: str | None  # that counts for it
    waiting: int | None  # messages that wait for their time; None: none can
    repeats: Repeats | None = None


class Policy(Struct):
    vhost: str
    name: str
    pattern: str
    apply_to: str
    priority: int | float
    definition: dict[str, Any]
    without_effect: dict[str, str]  # what of it means nothing here, and why
    dry_run: bool | UnsetType = UNSET


class PolicyAbout(Policy):
    queues: int = 0  # for which it counts
    exchanges: int = 0


class Definitions(Struct):
    definitions: dict[str, Any]  # RabbitMQ's own JSON
    notes: list[str]  # what of it a RabbitMQ would not know


class Imported(Struct):
    dry_run: bool
    counts: dict[str, "Count"]
    notes: list[str]  # what of it means nothing here


class Count(Struct):
    added: int
    changed: int
    there: int  # already, and the same


class TopicRoute(Struct):
    vhost: str
    topic: str
    exchange: str
    key: str  # the template of routing keys
    fallback: str | None
    group: str  # whose offsets are its position
    waits: str | None  # why it does not go on
    sent: int  # messages, since the server started
    unrouted: int  # of these, those that no queue took
    skipped: int  # records that retention removed before they were read
    lag: int | None  # records that have not arrived; null: not known yet
    dry_run: bool | UnsetType = UNSET


class BindingOf(Struct):
    id: str
    source: str
    destination: str
    kind: Literal["queue", "exchange"]  # of the destination
    key: str
    arguments: dict[str, Any]


class Binding(BindingOf):
    vhost: str = ""


class Node(Struct):
    id: str
    kind: str
    name: str
    flags: list[str]


class Edge(Struct):
    source: str = field(name="from")
    to: str
    kind: str
    key: str
    arguments: dict[str, Any]


class Routing(Struct):
    nodes: list[Node]
    edges: list[Edge]
    cut: bool


class Routed(Struct):
    path: list[Edge]
    queues: list[str]


class Published(Struct):
    routed: bool


class QueueRow(Struct):
    vhost: str
    name: str
    type: str
    topic: str | None
    durable: bool
    exclusive: bool
    auto_delete: bool
    arguments: dict[str, Any]
    ready: int | None
    unacked: int | None
    consumers: int | None
    bytes: int | None
    oldest_ms: int | None
    in_per_s: Rate
    out_per_s: Rate
    ack_per_s: Rate
    state: str
    policy: str | None  # that counts for it
    dropped: int | None
    error: str | None


class Lane(Struct):
    priority: int
    ready: int
    unacked: int
    start: str
    floor: str
    cursor: str
    end: str
    bytes: int


class OrderByKey(Struct):
    """The state of a queue with x-ordering-key; null for others."""

    key: str  # the argument
    prefetch: int  # of messages of one key; 0: any number
    keys: int  # of which something is unacknowledged, or waits for others of them
    waiting: int  # messages that do


class Queue(QueueRow):
    lanes: list[Lane] = []
    dead_letters: dict[str, Any] | None = None
    limits: dict[str, Any] | None = None  # of its arguments and its policy together
    history: dict[str, Any] | None = None
    repeats: Repeats | None = None
    ordering: OrderByKey | None = None


class Message(Struct):
    position: str
    priority: int
    offset: str
    state: Literal["ready", "unacked"]
    redelivered: bool
    delivery_count: int
    time_ms: int
    expires_ms: int | None
    exchange: str
    key: str
    properties: dict[str, Any]
    body: Content
    body_bytes: int
    truncated: bool


class Messages(Struct):
    items: list[Message]
    next: str | None


class QueueConsumer(Struct):
    tag: str
    channel: str
    no_ack: bool
    exclusive: bool
    priority: int
    prefetch: int
    unacked: int
    active: bool


class Channel(Struct):
    name: str
    kind: Literal["channel", "pattern", "sharded"]
    subscribers: int
    patterns: int
    in_per_s: Rate
    history: dict[str, Any] | None


class Heard(Struct):
    subscribers: int


# Users


class User(Struct):
    name: str
    tags: list[str]
    mechanisms: list[str]
    redis: str | None
    weak: int


class Name(Struct):
    name: str


class Rule(Struct):
    user: str
    operation: str
    kind: str
    name: str
    pattern: str
    allow: bool
    host: str


class Verdict(Struct):
    allowed: bool
    why: str


class Damage(Struct):
    damage: str
    forbids: bool


class Permission(Struct):
    vhost: str
    user: str
    configure: str
    write: str
    read: str


class TopicPermission(Struct):
    vhost: str
    user: str
    exchange: str
    write: str
    read: str


class Ticket(Struct):
    required: bool
    user: str
    password: str


class Nothing(Struct):
    """The empty object: the request succeeded."""


class Tags(Struct):
    name: str
    tags: list[str]


# What is deleted or emptied, or would be


class VhostDeleted(Vhost):
    dry_run: bool = False


class ExchangeDeleted(Struct):
    vhost: str
    name: str
    bindings: int
    bindings_to: int
    dry_run: bool


class QueueDeleted(Struct):
    vhost: str
    name: str
    ready: int
    unacked: int
    consumers: int
    bindings: int
    dry_run: bool


class BindingRemoved(Binding):
    dry_run: bool = False


class Purged(Struct):
    purged: int
    dry_run: bool


class Moved(Struct):
    moved: int
    unrouted: int
    refused: int
    error: str | None
    dry_run: bool


class PastMessage(Struct):
    position: str
    priority: int
    offset: str
    state: str  # ready, out or settled
    delivery_count: int  # of one that is not settled
    time_ms: int
    exchange: str
    key: str
    properties: dict[str, Any]
    body: Content
    body_bytes: int
    truncated: bool


class ScheduledRow(Struct):
    kind: str  # exchange or topic
    vhost: str | None
    name: str
    waiting: int


class WaitingMessage(Struct):
    offset: str
    due_ms: int
    time_ms: int | None
    exchange: str
    key: str
    properties: dict[str, Any]
    body: Content
    body_bytes: int
    truncated: bool


class WaitingAtExchange(Struct):
    items: list[WaitingMessage]
    next: str | None  # where to go on: after


class WaitingRecord(Struct):
    partition: int
    offset: str  # where it waits
    due_ms: int
    record: dict[str, Any] | None  # None: it can't be read


class WaitingForTopic(Struct):
    items: list[WaitingRecord]
    next: str | None


class CancelledMessage(Struct):
    offset: str


class CancelledRecord(Struct):
    partition: int
    offset: str


class History(Struct):
    items: list[PastMessage]
    damaged: list[str]
    next: str | None  # by position: where to go on
    on: str | None  # the same in any order, as it was asked for
    next_ms: int | None  # when the next message was published, if that is known


class Replayed(Struct):
    replayed: int
    unrouted: int  # of these: no queue takes them
    last: str | None  # the position of the last of them
    on: str | None  # where to go on
    next_ms: int | None
    error: str | None  # why no more were
    dry_run: bool


class Got(Struct):
    redelivered: bool
    exchange: str
    key: str
    properties: dict[str, Any]
    body: Content
    body_bytes: int
    truncated: bool
    ready: int  # messages that the queue has besides


class AllGot(Struct):
    items: list[Got]


# By method and path; of those that stand below /api/v1 without it.
ANSWERS: Final[dict[str, Any]] = {
    "DELETE /session": Nothing,
    "DELETE /vhosts/{name}": VhostDeleted,
    "DELETE /exchanges/{name}": ExchangeDeleted,
    "DELETE /bindings": BindingRemoved,
    "DELETE /queues/{name}": QueueDeleted,
    "POST /queues/{name}/purge": Purged,
    "POST /queues/{name}/get": AllGot,
    "POST /queues/{name}/move": Moved,
    "PUT /users/{name}/tags": Tags,
    "DELETE /permissions/{vhost}/{user}": Nothing,
    "DELETE /topic-permissions/{vhost}/{user}": Nothing,
    "GET /whoami": Who,
    "POST /session": Who,
    "GET /ready": Ready,
    "GET /server": Server,
    "GET /doctor": Doctor,
    "GET /jobs": Jobs,
    "GET /audit": AuditLog,
    "GET /overview": Overview,
    "GET /cluster": Cluster,
    "GET /connections": Listed[Connection],
    "GET /connections/{id}": Connection,
    "DELETE /connections/{id}": Connection,
    "GET /keys": KeysFound,
    "GET /keys/{database}": KeysScanned,
    "GET /keys/{database}/{key}": Key,
    "DELETE /keys/{database}/{key}": Key,
    "GET /mqtt/sessions": Listed[MqttSession],
    "GET /mqtt/sessions/{client}": MqttSession,
    "DELETE /mqtt/sessions/{client}": MqttSession,
    "GET /mqtt/sessions/{client}/subscriptions": Listed[MqttSubscription],
    "GET /transactions": Listed[Transaction],
    "GET /transactions/{id}": TransactionWhole,
    "POST /transactions/{id}/abort": TransactionWhole,
    "GET /settings": Listed[Setting],
    "GET /topics": Listed[Topic],
    "POST /topics": TopicMade,
    "GET /topics/{name}": TopicWhole,
    "DELETE /topics/{name}": TopicDeleted,
    "GET /topics/{name}/partitions": Listed[Partition],
    "GET /topics/{name}/partitions/{partition}": Partition,
    "PUT /topics/{name}/partitions": TopicGrown,
    "GET /topics/{name}/settings": Listed[Setting],
    "PUT /topics/{name}/settings": SettingsChanged,
    "POST /topics/{name}/trim": Trimmed,
    "GET /topics/{name}/records/{partition}/{offset}": Record,
    "POST /topics/{name}/records": Appended,
    "GET /topics/{name}/groups": Listed[GroupRow],
    "GET /schedules": Listed[ScheduledRow],
    "GET /exchanges/{name}/schedule": WaitingAtExchange,
    "DELETE /exchanges/{name}/schedule/{offset}": CancelledMessage,
    "GET /topics/{name}/schedule": WaitingForTopic,
    "DELETE /topics/{name}/schedule/{partition}/{offset}": CancelledRecord,
    "GET /groups": Listed[GroupRow],
    "GET /groups/{name}": Group,
    "DELETE /groups/{name}": GroupDeleted,
    "POST /groups/{name}/reset": GroupWasReset,
    "GET /definitions": Definitions,
    "POST /definitions": Imported,
    "GET /topic-routes": Listed[TopicRoute],
    "GET /topics/{name}/routes": Listed[TopicRoute],
    "POST /topics/{name}/routes": TopicRoute,
    "DELETE /topics/{name}/routes": TopicRoute,
    "GET /policies": Listed[Policy],
    "GET /policies/{name}": PolicyAbout,
    "PUT /policies/{name}": Policy,
    "DELETE /policies/{name}": Policy,
    "GET /vhosts": Listed[Vhost],
    "PUT /vhosts/{name}": Vhost,
    "GET /exchanges": Listed[Exchange],
    "GET /exchanges/{name}": Exchange,
    "PUT /exchanges/{name}": Exchange,
    "POST /exchanges/{name}/publish": Published,
    "GET /exchanges/{name}/bindings": Listed[BindingOf],
    "GET /routing": Routing,
    "POST /routing/test": Routed,
    "GET /bindings": Listed[Binding],
    "POST /bindings": Binding,
    "GET /queues": Listed[QueueRow],
    "GET /queues/{name}": Queue,
    "PUT /queues/{name}": QueueRow,
    "GET /queues/{name}/messages": Messages,
    "GET /queues/{name}/messages/{offset}": Message,
    "GET /queues/{name}/history": History,
    "GET /queues/{name}/history/{offset}": PastMessage,
    "POST /queues/{name}/replay": Replayed,
    "GET /queues/{name}/bindings": Listed[BindingOf],
    "GET /queues/{name}/consumers": Listed[QueueConsumer],
    "GET /channels": Listed[Channel],
    "POST /channels/{name}/publish": Heard,
    "POST /ticket": Ticket,
    "GET /users": Listed[User],
    "POST /users": User,
    "GET /users/{name}": User,
    "DELETE /users/{name}": Name,
    "PUT /users/{name}/password": Name,
    "GET /rules": Listed[Rule],
    "POST /rules": list[Rule],
    "DELETE /rules": list[Rule],
    "GET /rules/check": Verdict,
    "GET /damaged-rules": Listed[Damage],
    "DELETE /damaged-rules": list[Damage],
    "GET /permissions": Listed[Permission],
    "PUT /permissions/{vhost}/{user}": Permission,
    "GET /topic-permissions": Listed[TopicPermission],
    "PUT /topic-permissions/{vhost}/{user}": TopicPermission,
}
