"""Metrics without a name in other systems: the disk, the sessions' thread, doors, upkeep.

Also ``process_*``, which dashboards for any program use.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from logstore.protocols.http.metrics.exposition import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    INFO,
    Buckets,
    Family,
    Sample,
    Value,
    bound,
    labels,
)
from logstore.protocols.http.metrics.rows import Row
from logstore.protocols.http.metrics.scene import Samples, Scene, of_space, one, summed
from logstore.turns import COLUMNS_MS

if TYPE_CHECKING:
    from logstore.broker.transacting.coordinator import TransactionCoordinator
    from logstore.counts.histogram import Histogram
    from logstore.counts.schedules import ScheduleCounts
    from logstore.counts.shares import ShareCounts
    from logstore.figures.figures import DoorTotals


def _build(scene: Scene) -> Iterator[Sample]:
    facts = scene.house.facts()
    yield labels({"version": str(facts["version"]), "store_id": scene.house.store_id}), 1


def _of_doors(value: "Callable[[DoorTotals], Value]") -> Samples:
    def samples(scene: Scene) -> Iterator[Sample]:
        for name, door in scene.doors().items():
            yield labels({"door": name}), value(door)

    return samples


def in_seconds(ends_ms: Sequence[float], columns: Sequence[int], total_ms: float) -> Buckets:
    """A histogram that is kept in milliseconds."""
    return Buckets([bound(end / 1000) for end in ends_ms], list(columns), total_ms / 1000)


def _turns(scene: Scene) -> Buckets:
    turns = scene.house.turns
    return in_seconds(COLUMNS_MS, turns.columns, turns.total_s * 1000)


def _measured(its: "Histogram") -> Buckets:
    return in_seconds(its.ends, its.columns, its.total)


def _of_transactions(value: "Callable[[TransactionCoordinator], Value]") -> Samples:
    def samples(scene: Scene) -> Iterator[Sample]:
        model = scene.house.transactions_of.opened
        yield "", 0 if model is None else value(model)

    return samples


def _of_shares(value: "Callable[[ShareCounts], Value]") -> Samples:
    def samples(scene: Scene) -> Iterator[Sample]:
        model = scene.house.shares_of.opened
        yield "", 0 if model is None else value(model.counts)

    return samples


def _oldest_transaction(scene: Scene) -> Iterator[Sample]:
    model = scene.house.transactions_of.opened
    since_ms = None if model is None else model.table.oldest_ms
    if since_ms is not None:
        yield "", since_ms / 1000


def _groups(scene: Scene) -> Iterator[Sample]:
    states: dict[str, int] = {}
    for it in scene.found.groups:
        states[it.state] = states.get(it.state, 0) + 1
    for state, count in states.items():
        yield labels({"state": state}), count


def _of_jobs(what: str, scale: float = 1) -> Samples:
    """By what each job has done since the process began."""

    def samples(scene: Scene) -> Iterator[Sample]:
        totals: dict[str, dict[str, int]] = scene.jobs["totals"]
        for job, counts in totals.items():
            yield labels({"job": job}), counts[what] * scale if scale != 1 else counts[what]

    return samples


def _kept_out(scene: Scene) -> Iterator[Sample]:
    for where, count in scene.house.deduplication.kept_out.items():
        yield labels({"where": where}), count


def _waiting(scene: Scene) -> Iterator[Sample]:
    stations = [] if scene.queues is None else scene.queues.delayed()
    yield labels({"kind": "exchange"}), sum(it.waiting for it in stations)
    yield labels({"kind": "topic"}), sum(scene.house.topics.schedules.waiting().values())


def _scheduled(value: "Callable[[ScheduleCounts], Value]") -> Samples:
    def samples(scene: Scene) -> Iterator[Sample]:
        if scene.queues is not None:
            yield labels({"kind": "exchange"}), value(scene.queues.scheduled)
        yield labels({"kind": "topic"}), value(scene.house.topics.schedules.counts)

    return samples


def _left_out(scene: Scene) -> Iterator[Sample]:
    found = scene.found
    kinds = {
        "topics": len(found.topics),
        "partitions": found.partitions,
        "groups": len(found.groups),
        "group_topics": sum(len(it.sums) for it in found.groups),
        "group_partitions": found.places,
    }
    for kind, count in kinds.items():
        yield labels({"kind": kind}), count if count > scene.most else 0


_LOGSTORE: Final = "logstore_"


def _row(name: str, kind: str, help_: str, samples: Samples) -> Row:
    return Row(Family(_LOGSTORE + name, kind, help_), samples, "logstore")


def _process(name: str, kind: str, help_: str, value: Callable[[Scene], Value]) -> Row:
    return Row(Family(f"process_{name}", kind, help_), one(value), "process")


ROWS: Final = (
    _row("build", INFO, "The server's version and the id of its store, as labels.", _build),
    # The disk
    _row("sync_seconds", HISTOGRAM, "Durations of syncs of logs.",
         one(lambda it: _measured(it.syncs.lengths_ms))),
    _row("safe_seconds", HISTOGRAM, "Time from the first request to sync a log until that log is "
         "synced.",
         one(lambda it: _measured(it.syncs.safe_ms))),
    _row("sync_failures", COUNTER, "Syncs of logs that failed.",
         one(lambda it: it.syncs.failed)),
    _row("disk_free_bytes", GAUGE, "Free space on the disk of the data directory that this "
         "process may use.",
         of_space(lambda it: it.usable_bytes)),
    _row("disk_size_bytes", GAUGE, "Size of the disk of the data directory.",
         of_space(lambda it: it.total_bytes)),
    # The sessions' thread
    _row("turn_seconds", HISTOGRAM, "Durations of the turns of the thread that serves all clients.",
         one(_turns)),
    _row("gaps", COUNTER, "Pauses of more than 1 s in which no client was served.",
         one(lambda it: it.house.turns.gaps)),
    _row("gap_seconds", COUNTER, "Total length of the pauses in which no client was served.",
         one(lambda it: it.house.turns.gap_s)),
    # Doors
    _row("door_connections", GAUGE, "Open connections, by door.",
         _of_doors(lambda it: it.connections)),
    _row("door_connections_opened", COUNTER, "Connections that were accepted, by door.",
         _of_doors(lambda it: it.opened)),
    _row("door_connections_closed", COUNTER, "Connections that were closed, by door.",
         _of_doors(lambda it: it.closed)),
    _row("door_connections_refused", COUNTER, "Connections that were refused (too many, or a "
         "failed TLS handshake), by door.",
         _of_doors(lambda it: it.refused)),
    _row("door_slow_clients", COUNTER, "Connections that were closed while the client had left "
         "data unread, by door.",
         _of_doors(lambda it: it.slow)),
    _row("door_received_bytes", COUNTER, "Bytes received from clients, by door.",
         _of_doors(lambda it: it.bytes_in)),
    _row("door_sent_bytes", COUNTER, "Bytes sent to clients, by door.",
         _of_doors(lambda it: it.bytes_out)),
    _row("door_messages_received", COUNTER, "Records or messages that clients published, by door.",
         _of_doors(lambda it: it.messages_in)),
    _row("door_messages_sent", COUNTER, "Records or messages that were sent to clients, by door.",
         _of_doors(lambda it: it.messages_out)),
    # Memory of clients
    _row("clients_held_bytes", GAUGE, "Memory that the process holds for clients.",
         one(lambda it: it.house.budget.total_bytes)),
    _row("clients_held_max_bytes", GAUGE, "Limit of the memory that the process holds for clients "
         "(memory.clients.max.bytes).",
         one(lambda it: it.house.budget.bytes_max)),
    _row("clients_lost", COUNTER, "Connections that were closed because they held most memory "
         "when it was short.",
         one(lambda it: it.house.budget.lost)),
    _row("requests_refused", COUNTER, "Requests that were refused because memory for clients was "
         "short.",
         one(lambda it: it.house.budget.refused)),
    # What there is
    _row("topics", GAUGE, "Number of topics.", one(lambda it: len(it.found.topics))),
    _row("partitions", GAUGE, "Number of partitions of topics.",
         one(lambda it: it.found.partitions)),
    _row("records", GAUGE, "Number of offsets from the start to the end of each partition, summed "
         "over all partitions.",
         one(lambda it: it.found.records)),
    _row("groups", GAUGE, "Number of consumer groups, by state.", _groups),
    _row("groups_damaged", GAUGE, "Number of groups whose stored offsets cannot be read.",
         one(lambda it: it.found.damaged_groups)),
    _row("queues_uncounted", GAUGE, "Queues whose messages have not been counted since the server "
         "started.",
         summed(lambda it: it.uncounted)),
    _row("queue_messages_dead", COUNTER, "Messages that queues expired, rejected or dropped for "
         "their limits.",
         one(lambda it: it.totals.died)),
    _row("policies", GAUGE, "Number of policies for queues and exchanges.",
         one(lambda it: sum(len(vhost.policies) for vhost in it.vhosts()))),
    _row("scheduled_waiting", GAUGE, "Delayed messages (kind=exchange) and records (kind=topic) "
         "that are not due yet.", _waiting),
    _row("scheduled_delivered", COUNTER, "Delayed messages and records that were delivered when "
         "they were due.",
         _scheduled(lambda it: it.delivered)),
    _row("scheduled_dropped", COUNTER, "Delayed messages that were dropped when they were due, "
         "because no queue was bound or had room.",
         _scheduled(lambda it: it.dropped)),
    _row("scheduled_cancelled", COUNTER, "Delayed messages and records that were cancelled.",
         _scheduled(lambda it: it.cancelled)),
    _row("channels", GAUGE, "Number of channels with subscribers.",
         one(lambda it: len(it.house.channels.names) + len(it.house.channels.apart))),
    _row("channel_patterns", GAUGE, "Number of patterns with subscribers.",
         one(lambda it: len(it.house.channels.patterns))),
    # Upkeep, and what a crash has left
    _row("repeats_kept_out", COUNTER, "Duplicate records and messages that were not stored, by "
         "where they were sent.", _kept_out),
    _row("deduplication_bytes", GAUGE, "Approximate memory for the ids that deduplication "
         "remembers.",
         one(lambda it: it.house.deduplication.bytes)),
    _row("deduplication_ids_forgotten", COUNTER, "Ids that deduplication forgot early because "
         "memory was short.",
         one(lambda it: it.house.deduplication.forgotten)),
    _row("upkeep_running", GAUGE, "Upkeep jobs that are running now.",
         one(lambda it: len(it.jobs["running"]))),
    _row("upkeep_runs", COUNTER, "Runs of upkeep jobs, by job.", _of_jobs("runs")),
    _row("upkeep_run_seconds", COUNTER, "Total duration of the runs of upkeep jobs, by job.",
         _of_jobs("ms", 0.001)),
    _row("upkeep_runs_failed", COUNTER, "Runs of upkeep jobs that ended early, by job.",
         _of_jobs("failed")),
    _row("upkeep_log_failures", COUNTER, "Logs that an upkeep job could not process, by job.",
         _of_jobs("failures")),
    _row("upkeep_segments_dropped", COUNTER, "Segments that upkeep jobs dropped, by job.",
         _of_jobs("segments")),
    _row("upkeep_records_removed", COUNTER, "Records that upkeep jobs removed, by job.",
         _of_jobs("records")),
    _row("upkeep_freed_bytes", COUNTER, "Bytes on disk that upkeep jobs freed, by job.",
         _of_jobs("bytes")),
    _row("transactional_ids", GAUGE, "Known transactional ids of Kafka producers.",
         _of_transactions(lambda it: len(it.table))),
    _row("transactions_open", GAUGE, "Open transactions of Kafka producers, which hold back "
         "readers of committed records.", _of_transactions(lambda it: it.table.open)),
    _row("transactions_oldest_begin_timestamp_seconds", GAUGE, "Time at which the oldest open "
         "transaction began, in seconds since 1970.", _oldest_transaction),
    _row("transactions_committed", COUNTER, "Transactions of Kafka producers that were committed.",
         _of_transactions(lambda it: it.counts.committed)),
    _row("transactions_aborted", COUNTER, "Transactions of Kafka producers that were aborted, for "
         "any reason.",
         _of_transactions(lambda it: it.counts.aborted)),
    _row("transactions_abandoned", COUNTER, "Aborted transactions that their producer did not "
         "end: they timed out, or something else aborted them.",
         _of_transactions(lambda it: it.counts.abandoned)),
    _row("share_dead_letters", COUNTER, "Records that share groups gave up on and copied to a "
         "dead-letter topic.", _of_shares(lambda it: it.dead_letters)),
    _row("share_dead_letters_dropped", COUNTER, "Records that share groups gave up on and could "
         "not copy to their dead-letter topic, because the topic is missing, does not permit it "
         "or does not accept the record.",
         _of_shares(lambda it: it.dropped)),
    _row("unrecovered_logs", GAUGE, "Logs that have not been recovered yet after a crash.",
         one(lambda it: it.house.unrecovered())),
    _row("recovered_logs", COUNTER, "Logs that were checked and recovered after a crash.",
         one(lambda it: it.house.figures.recoveries.logs)),
    _row("recovered_logs_failed", COUNTER, "Logs whose recovery found damage, or which could not "
         "be opened.",
         one(lambda it: it.house.figures.recoveries.failed)),
    _row("recovery_seconds", COUNTER, "Total time spent on the recovery of logs.",
         one(lambda it: it.house.figures.recoveries.seconds)),
    _row("certificate_expiry_timestamp_seconds", GAUGE, "Time at which the certificate of the TLS "
         "doors expires, in seconds since 1970.", one(lambda it: it.house.certificate_expires_s())),
    # Of the text itself
    _row("metrics_left_out", GAUGE, "Objects without a series of their own, because there are "
         "more than metrics.objects.max, by kind.", _left_out),
    _process("cpu_seconds", COUNTER, "User and system CPU time of the process.",
             lambda it: sum(_cpu(it))),
    _process("resident_memory_bytes", GAUGE, "Resident memory of the process.",
             lambda it: it.found.process.usage.resident_bytes),
    _process("virtual_memory_bytes", GAUGE, "Virtual memory of the process.",
             lambda it: it.found.process.virtual_bytes),
    _process("open_fds", GAUGE, "Open file descriptors of the process.",
             lambda it: it.found.process.files_open),
    _process("max_fds", GAUGE, "Limit of open file descriptors of the process.",
             lambda it: it.found.process.files_open_max),
    _process("start_time_seconds", GAUGE, "Time at which the process started, in seconds since "
    "1970.",
             lambda it: it.found.process.started_s),
)  # fmt: skip


def _cpu(scene: Scene) -> tuple[float, float]:
    its = scene.found.process.usage.process
    return its.user, its.system
