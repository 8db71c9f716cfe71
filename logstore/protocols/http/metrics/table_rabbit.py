"""Metrics of RabbitMQ's own Prometheus plugin that have the same meaning here, under its names.

Each panel of its dashboards joins ``rabbitmq_identity_info``. Groups are those of RabbitMQ's
/metrics/detailed.
"""

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from logstore.broker.routing.refusals import NoExchange
from logstore.protocols.http.common.node import NODE
from logstore.protocols.http.metrics.exposition import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    INFO,
    Buckets,
    Family,
    Sample,
    bound,
    labels,
)
from logstore.protocols.http.metrics.rows import DETAILED, EACH, SUMMED, Row
from logstore.protocols.http.metrics.scene import (
    Samples,
    Scene,
    of_queues,
    of_space,
    one,
    summed,
)

if TYPE_CHECKING:
    from logstore.broker.queues.vhost import Vhost
    from logstore.broker.routing.exchange import ExchangeFacts
    from logstore.counts.publishes import AmqpCounts
    from logstore.figures.figures import DoorTotals

PREFIX: Final = "rabbitmq_"
# Instead of it, what is shown to who asks for a group: so it is with RabbitMQ, whose users may
# scrape both.
DETAILED_PREFIX: Final = "rabbitmq_detailed_"
CLUSTER_PREFIX: Final = "rabbitmq_cluster_"

# Groups of RabbitMQ of which nothing is counted here by channel, connection or exchange: asked for
# by scrapes that were made for it, and empty.
OTHER_GROUPS: Final = frozenset({
    "auth_attempt_detailed_metrics", "auth_attempt_metrics", "channel_exchange_metrics",
    "channel_metrics", "channel_process_metrics", "channel_queue_metrics",
    "connection_coarse_metrics", "connection_metrics", "exchange_metrics", "node_coarse_metrics",
    "node_persister_metrics", "queue_exchange_metrics", "ra_metrics", "stream_consumer_metrics",
})  # fmt: skip

PROTOCOL: Final = 'protocol="amqp091"'
STOMP: Final = 'protocol="stomp"'
QUEUE_TYPE: Final = "rabbit_classic_queue"
_OF_TYPE: Final = f'{PROTOCOL},queue_type="{QUEUE_TYPE}"'
_DEAD: Final = f'queue_type="{QUEUE_TYPE}"'


def _labelled(its: str, value: Callable[[Scene], int]) -> Samples:
    def samples(scene: Scene) -> Iterator[Sample]:
        yield its, value(scene)

    return samples


def _of_door(value: "Callable[[DoorTotals], int]") -> Samples:
    def samples(scene: Scene) -> Iterator[Sample]:
        door = scene.door("amqp")
        yield "", 0 if door is None else value(door)

    return samples


def _identity(scene: Scene) -> Iterator[Sample]:
    cluster = scene.house.store_id
    yield labels({
        "rabbitmq_node": NODE, "rabbitmq_cluster": cluster,
        "rabbitmq_cluster_permanent_id": cluster, "rabbitmq_endpoint": scene.endpoint,
    }), 1  # fmt: skip


def _build(scene: Scene) -> Iterator[Sample]:
    facts = scene.house.facts()
    yield labels({
        "rabbitmq_version": scene.house.settings.amqp_server_version, "erlang_version": "",
        "product_name": "logstore", "product_version": str(facts["version"]),
        "prometheus_plugin_version": str(facts["version"]), "prometheus_client_version": "",
    }), 1  # fmt: skip


def _counted(name: str) -> Samples:
    """Of each queue since the process has it; or of all, with those that are gone."""
    of_one, of_all = attrgetter(f"counts.{name}"), attrgetter(name)

    def samples(scene: Scene) -> Iterator[Sample]:
        if not scene.each:
            yield "", of_all(scene.totals)
            return
        for rows in scene.each_queue():
            yield [(its, of_one(queue)) for its, queue in rows]

    return samples


def _queue_facts(scene: Scene) -> Iterator[Sample]:
    more = f'queue_type="{QUEUE_TYPE}",membership="leader"'
    for rows in scene.each_queue():
        yield [(f"{its},{more}", 1) for its, _ in rows]


def _vhosts(scene: Scene) -> Iterator[Sample]:
    for vhost in scene.vhosts():
        yield labels({"vhost": vhost.name}), 1


def _of_exchanges(value: "Callable[[Vhost, ExchangeFacts], int]") -> Samples:
    def samples(scene: Scene) -> Iterator[Sample]:
        for vhost in scene.vhosts():
            for it in list(vhost.topology.exchanges()):
                its = {"vhost": vhost.name, "exchange": it.name, "type": it.type_name.encode()}
                try:
                    found = value(vhost, it)
                except NoExchange:  # deleted while others were written
                    continue
                yield labels(its), found

    return samples


def _sizes(scene: Scene) -> Iterator[Sample]:
    its = scene.totals.sizes
    yield PROTOCOL, Buckets([*map(bound, its.ends)], list(its.columns), its.total)


def _low_disk(scene: Scene) -> int:
    space, least = scene.found.space, scene.house.settings.queue_disk_free_bytes
    return int(space is not None and space.total_bytes > 0 and space.usable_bytes < least)


def _all_of(it: Any) -> int:  # noqa: ANN401  a queue, or Sums
    return int(it.ready + it.out)


_READY, _OUT = attrgetter("ready"), attrgetter("out")  # of a queue, and of all
_COARSE, _QUEUES = "queue_coarse_metrics", "queue_metrics queue_consumer_count"
_DELIVERY, _CHANNELS = "queue_delivery_metrics", "channel_queue_metrics"
_NODE, _CHURN = "node_metrics", "connection_churn_metrics"
_PUBLISHED, _CONNECTIONS = "channel_exchange_metrics", "connection_coarse_metrics"


def _row(name: str, kind: str, help_: str, samples: Samples, group: str = "",
         where: str = "everywhere") -> Row:  # fmt: skip
    return Row(Family(PREFIX + name, kind, help_), samples, group, where)


def _global(name: str, help_: str, value: Callable[[Scene], int], its: str = PROTOCOL) -> Row:
    return _row(f"global_messages_{name}", COUNTER, help_, _labelled(its, value))


def _published(name: str, help_: str, value: "Callable[[AmqpCounts], int]") -> Row:
    """Of messages that were published, by the protocol in which they came."""

    def samples(scene: Scene) -> Iterator[Sample]:
        yield PROTOCOL, value(scene.amqp)
        stomp = scene.stomp
        if stomp is not None:
            yield STOMP, value(stomp)

    return _row(f"global_{name}", COUNTER if name.startswith("messages") else GAUGE, help_, samples)


IDENTITY: Final = (
    _row("identity", INFO, "Name of the node and of its cluster.", _identity),
    _row("build", INFO, "Versions, as the server tells RabbitMQ clients.", _build),
)
ROWS: Final = (
    *IDENTITY,
    # What there is
    _row("queues", GAUGE, "Number of queues.",
         one(lambda it: sum(vhost.count_queues() for vhost in it.vhosts()))),
    _row("connections", GAUGE, "Connections of RabbitMQ clients.",
         _of_door(lambda it: it.connections)),
    _row("channels", GAUGE, "Channels of RabbitMQ clients.",
         one(lambda it: it.amqp.channels_opened - it.amqp.channels_closed)),
    _row("consumers", GAUGE, "Consumers of queues.", summed(lambda it: it.consumers)),
    _row("global_consumers", GAUGE, "Consumers of queues.",
         summed(lambda it: it.consumers, PROTOCOL)),
    _published("publishers", "Open channels that have published.", lambda it: it.publishers),
    # Who comes and goes
    _row("connections_opened", COUNTER, "Connections that were opened.",
         _of_door(lambda it: it.opened), _CHURN),
    _row("connections_closed", COUNTER, "Connections that were closed.",
         _of_door(lambda it: it.closed), _CHURN),
    _row("channels_opened", COUNTER, "Channels that were opened.",
         one(lambda it: it.amqp.channels_opened), _CHURN),
    _row("channels_closed", COUNTER, "Channels that were closed.",
         one(lambda it: it.amqp.channels_closed), _CHURN),
    _row("queues_declared", COUNTER, "Declarations of queues.",
         one(lambda it: it.amqp.queues_declared), _CHURN),
    _row("queues_created", COUNTER, "Queues that were created.",
         one(lambda it: it.totals.created), _CHURN),
    _row("queues_deleted", COUNTER, "Queues that were deleted.",
         one(lambda it: it.totals.deleted), _CHURN),
    # Of all messages
    _published("messages_received", "Messages that were published.", lambda it: it.received),
    _published("messages_received_confirm", "Messages that were published with confirms.",
               lambda it: it.received_confirm),
    _published("messages_confirmed", "Messages that were confirmed to publishers.",
               lambda it: it.confirmed),
    _published("messages_routed", "Messages that were routed to at least one queue.",
    lambda it: it.routed),
    _published("messages_unroutable_returned",
               "Messages without a queue that were returned to the publisher.",
               lambda it: it.returned),
    _published("messages_unroutable_dropped",
               "Messages without a queue that were dropped.", lambda it: it.dropped),
    _global("delivered", "Messages that were delivered to consumers or fetched.",
    lambda it: it.totals.given_out, _OF_TYPE),
    _global("delivered_consume_manual_ack", "Messages delivered to consumers that acknowledge.",
            lambda it: it.totals.delivered, _OF_TYPE),
    _global("delivered_consume_auto_ack", "Messages delivered to consumers that do not "
    "acknowledge.",
            lambda it: it.totals.delivered_no_ack, _OF_TYPE),
    _global("delivered_get_manual_ack", "Messages that were fetched and must be acknowledged.",
            lambda it: it.totals.got, _OF_TYPE),
    _global("delivered_get_auto_ack", "Messages that were fetched without acknowledgement.",
            lambda it: it.totals.got_no_ack, _OF_TYPE),
    _global("get_empty", "Fetches that found the queue empty.", lambda it: it.totals.got_empty,
            _OF_TYPE),
    _global("redelivered", "Messages that were delivered again.",
            lambda it: it.totals.redelivered, _OF_TYPE),
    _global("acknowledged", "Messages that were acknowledged.", lambda it: it.totals.acked,
            _OF_TYPE),
    _global("dead_lettered_expired", "Messages that expired.",
            lambda it: it.totals.expired, _DEAD),
    _global("dead_lettered_maxlen", "Messages that were dropped because the queue was full.",
            lambda it: it.totals.maxlen, _DEAD),
    _global("dead_lettered_rejected", "Messages that a client rejected.",
            lambda it: it.totals.rejected, _DEAD),
    _global("dead_lettered_delivery_limit", "Messages that reached the delivery limit.",
            lambda it: it.totals.delivery_limit, _DEAD),
    _row("message_size_bytes", HISTOGRAM, "Sizes of messages that were put into queues.", _sizes),
    # Of queues
    _row("queue_messages_ready", GAUGE, "Messages that are ready to be delivered.",
         of_queues(_READY, _READY, counted=True), _COARSE),
    _row("queue_messages_unacked", GAUGE, "Messages that are delivered and not acknowledged yet.",
         of_queues(_OUT, _OUT, counted=True), _COARSE),
    _row("queue_messages", GAUGE, "Messages that are ready or not acknowledged.",
         of_queues(_all_of, _all_of, counted=True), _COARSE),
    _row("queue_consumers", GAUGE, "Consumers of the queue.",
         of_queues(lambda it: len(it.subscriptions), lambda it: it.consumers), _QUEUES),
    _row("queue", INFO, "The queue and its type.", _queue_facts, _QUEUES, EACH),
    _row("queue_messages_published", COUNTER, "Messages that were put into the queue.",
         _counted("published"), "channel_queue_exchange_metrics"),
    _row("queue_get_ack", COUNTER, "Messages that were fetched and must be acknowledged.",
         _counted("got"), _DELIVERY),
    _row("queue_get", COUNTER, "Messages that were fetched without acknowledgement.",
         _counted("got_no_ack"), _DELIVERY),
    _row("queue_messages_delivered_ack", COUNTER, "Messages delivered to consumers that "
         "acknowledge.",
         _counted("delivered"), _DELIVERY),
    _row("queue_messages_delivered", COUNTER, "Messages delivered to consumers that do not "
         "acknowledge.",
         _counted("delivered_no_ack"), _DELIVERY),
    _row("queue_messages_redelivered", COUNTER, "Messages that were delivered again.",
         _counted("redelivered"), _DELIVERY),
    _row("queue_messages_acked", COUNTER, "Messages that were acknowledged.",
         _counted("acked"), _DELIVERY),
    _row("queue_get_empty", COUNTER, "Fetches that found the queue empty.",
         _counted("got_empty"), _DELIVERY),
    # Of channels and connections together, under the names that dashboards from before 3.9 ask for
    _row("channel_messages_published", COUNTER, "Messages that were published.",
         one(lambda it: it.amqp.received), _PUBLISHED, SUMMED),
    _row("channel_messages_confirmed", COUNTER, "Messages that were confirmed to publishers.",
         one(lambda it: it.amqp.confirmed), _PUBLISHED, SUMMED),
    _row("channel_messages_unroutable_returned", COUNTER, "Messages without a queue that were "
         "returned to the publisher.",
         one(lambda it: it.amqp.returned), _PUBLISHED, SUMMED),
    _row("channel_messages_unroutable_dropped", COUNTER, "Messages without a queue that were "
         "dropped.",
         one(lambda it: it.amqp.dropped), _PUBLISHED, SUMMED),
    _row("channel_get_ack", COUNTER, "Messages that were fetched and must be acknowledged.",
         one(lambda it: it.totals.got), _CHANNELS, SUMMED),
    _row("channel_get", COUNTER, "Messages that were fetched without acknowledgement.",
         one(lambda it: it.totals.got_no_ack), _CHANNELS, SUMMED),
    _row("channel_messages_delivered_ack", COUNTER, "Messages delivered to consumers that "
         "acknowledge.",
         one(lambda it: it.totals.delivered), _CHANNELS, SUMMED),
    _row("channel_messages_delivered", COUNTER, "Messages delivered to consumers that do not "
         "acknowledge.",
         one(lambda it: it.totals.delivered_no_ack), _CHANNELS, SUMMED),
    _row("channel_messages_redelivered", COUNTER, "Messages that were delivered again.",
         one(lambda it: it.totals.redelivered), _CHANNELS, SUMMED),
    _row("channel_messages_acked", COUNTER, "Messages that were acknowledged.",
         one(lambda it: it.totals.acked), _CHANNELS, SUMMED),
    _row("channel_get_empty", COUNTER, "Fetches that found the queue empty.",
         one(lambda it: it.totals.got_empty), _CHANNELS, SUMMED),
    _row("connection_incoming_bytes", COUNTER, "Bytes received from RabbitMQ clients.",
         _of_door(lambda it: it.bytes_in), _CONNECTIONS, SUMMED),
    _row("connection_outgoing_bytes", COUNTER, "Bytes sent to RabbitMQ clients.",
         _of_door(lambda it: it.bytes_out), _CONNECTIONS, SUMMED),
    # Of the node
    _row("process_open_fds", GAUGE, "Open file descriptors of the process.",
         one(lambda it: it.found.process.files_open), _NODE),
    _row("process_max_fds", GAUGE, "Limit of open file descriptors of the process.",
         one(lambda it: it.found.process.files_open_max), _NODE),
    _row("process_resident_memory_bytes", GAUGE, "Resident memory of the process.",
         one(lambda it: it.found.process.usage.resident_bytes), _NODE),
    _row("resident_memory_limit_bytes", GAUGE, "Memory that the process may use.",
         one(lambda it: it.found.process.memory_bytes_max), _NODE),
    _row("disk_space_available_bytes", GAUGE, "Free space on the disk of the data directory.",
         of_space(lambda it: it.usable_bytes), _NODE),
    _row("disk_space_available_limit_bytes", GAUGE, "Free disk space below which messages for "
         "queues are not accepted.",
         one(lambda it: it.house.settings.queue_disk_free_bytes), _NODE),
    _row("alarms_free_disk_space_watermark", GAUGE, "1 if messages for queues are not accepted "
         "because the disk is nearly full.",
         one(_low_disk), _NODE),
    _row("alarms_memory_used_watermark", GAUGE, "1 if memory for clients is short, so that the "
         "clients that hold most must wait.",
         one(lambda it: int(it.house.budget.tight)), _NODE),
    _row("erlang_uptime_seconds", GAUGE, "Time since the server started.",
         one(lambda it: it.uptime_s), _NODE),
    # What only those are shown who ask for it
    Row(Family(f"{CLUSTER_PREFIX}vhost_status", GAUGE, "1 if the virtual host is open."),
        _vhosts, "vhost_status", DETAILED),
    Row(Family(f"{CLUSTER_PREFIX}exchange_bindings", GAUGE, "Bindings of the exchange."),
        _of_exchanges(lambda vhost, it: vhost.topology.count_bindings_from(it.name)),
        "exchange_bindings", DETAILED),
    Row(Family(f"{CLUSTER_PREFIX}exchange_name", GAUGE, "1 for each exchange."),
        _of_exchanges(lambda vhost, it: 1), "exchange_names", DETAILED),
)  # fmt: skip
