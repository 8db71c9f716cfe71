"""For each kind of Kafka request: some that ask for all the rights which its row of ASKS names."""

import struct

import kio_oracle as kio
from door_kit import a_batch

from logstore.kafka import fetch_codec, produce_codec
from logstore.kafka.schema import codec
from logstore.protocols.kafka.apis import APIS

TOPIC, NEW, GROUP, MEMBERS, TXN = "t", "new", "g", "c", "x"  # NEW: there is none
SHARERS, LEFT = "s", "e"  # share groups; LEFT: without members
NOBODY = (-1, -1)  # a producer's id and epoch
MINUTE_MS = 60_000


def bodies(key, version, topic_id):
    """The requests' bodies. ``topic_id``: of TOPIC."""
    if key == 0:
        return [_produce(version, topic_id, it) for it in (None, TXN)]
    if key == 1:
        return [_fetch(version, topic_id)]
    m = kio.ours(APIS[key].name)
    return [_written(key, version, it) for it in _MESSAGES[key](m, version, topic_id)]


def answered(key, version, body):
    """An answer decoded as a message."""
    if version >= APIS[key].flexible and key != 18:
        body = body[1:]
    if key == 0:
        return produce_codec.read_response(version, memoryview(body), 0)
    if key == 1:
        return fetch_codec.read_response(version, memoryview(body), 0)
    kind = kio.ours(APIS[key].name).Response
    return codec(kind, version, version >= APIS[key].flexible).read(body, 0)[0]


def _written(key, version, request):
    out = bytearray()
    codec(type(request), version, version >= APIS[key].flexible).write(out, request)
    return bytes(out)


def _produce(version, topic_id, transactional_id):
    topic = topic_id if version >= produce_codec.WITH_TOPIC_IDS else TOPIC
    part = produce_codec.Part(0, memoryview(a_batch(b"v")))
    request = produce_codec.ProduceRequest(transactional_id, -1, 1000, [(topic, [part])])
    return b"".join(produce_codec.write_request(version, request))


def _fetch(version, topic_id):
    by_id = version >= fetch_codec.WITH_TOPIC_IDS
    asked = [fetch_codec.Asked(topic_id if by_id else TOPIC, 0, 0, 1 << 20)]
    request = fetch_codec.FetchRequest(0, 1, 1 << 20, 0, 0, -1, asked, (), by_id)
    return bytes(fetch_codec.write_request(version, request))


def _metadata(m, version, _):
    bits = {"include_cluster_authorized_operations": version >= 8}
    bits["include_topic_authorized_operations"] = version >= 8
    every = () if version == 0 else None
    return [
        *(m.Request([m.Topic(name=it)], **bits) for it in (TOPIC, NEW)),
        m.Request(every, **bits),
    ]


def _offset_commit(m, version, topic_id):
    partition = m.Partition(0, 1, committed_metadata="")
    return [m.Request(GROUP, topics=[m.Topic(topic_id, TOPIC, [partition])])]


def _offset_fetch(m, version, topic_id):
    some = [m.Topics(topic_id, TOPIC, [0])]
    if version >= 8:
        return [m.Request([m.Group(GROUP, topics=it)]) for it in (some, None)]
    named = m.Request(group_id=GROUP, topics=[m.Topic(TOPIC, [0])])
    return [named, m.Request(group_id=GROUP, topics=None)] if version >= 2 else [named]


def _find_coordinator(m, version, _):
    return [m.Request(it, kind, [it]) for it, kind in ((GROUP, 0), (TXN, 1)) if kind <= version]


def _join_group(m, version, _):
    protocol = m.Protocol("range", struct.pack(">hih", 0, 1, 1) + b"t" + struct.pack(">i", 0))
    return [m.Request(GROUP, 10_000, 30_000, protocol_type="consumer", protocols=[protocol])]


def _delete_topics(m, version, topic_id):
    if version < 6:
        return [m.Request(topic_names=[TOPIC])]
    # By id first: the other one deletes it.
    return [m.Request([it]) for it in (m.DeleteTopicState(None, topic_id),)]


def _resources(m, kind):
    """A request for each of a topic, a group and the node."""
    return [kind(number, name) for number, name in ((2, TOPIC), (32, GROUP), (4, "1"))]


def _describe_configs(m, version, _):
    return [m.Request([m.Resource(it.resource_type, it.resource_name, None)])
            for it in _resources(m, m.Resource)]  # fmt: skip


def _alter_configs(m, version, _):
    return [m.Request([it], True) for it in _resources(m, m.Resource)]


def _alter_configs_incrementally(m, version, _):
    return [m.Request([it], True) for it in _resources(m, m.AlterConfigsResource)]


def _add_partitions(m, version, _):
    if version >= 4:
        return [m.Request([m.Transaction(TXN, *NOBODY, topics=[m.Topic(TOPIC, [0])])])]
    topics = [m.RequestTopic(TOPIC, [0])]
    return [m.Request((), TXN, *NOBODY, v3_and_below_topics=topics)]


def _consumer_heartbeat(m, version, _):
    return [
        m.Request(
            MEMBERS + "2", "m", 0, rebalance_timeout_ms=MINUTE_MS,
            subscribed_topic_names=[TOPIC], topic_partitions=[],
        )
    ]  # fmt: skip


def share_fetch(m, topic_id, group=SHARERS):
    """The first request of a session."""
    topics = [m.FetchTopic(topic_id, [m.FetchPartition(0)])]
    return m.Request(group, "m", 0, max_bytes=1000, max_records=10, topics=topics)


def _share_acknowledge(m, version, topic_id):
    batch = m.AcknowledgementBatch(0, 0, [1])
    return [m.Request(SHARERS, "m", 1, topics=[m.Topic(topic_id, [m.Partition(0, [batch])])])]


def _any_acl(kind):
    return kind(1, None, 1, None, None, 1, 1)


_MESSAGES = {
    2: lambda m, v, _: [m.Request(-1, topics=[m.Topic(TOPIC, [m.Partition(0, timestamp=-1)])])],
    3: _metadata,
    8: _offset_commit,
    9: _offset_fetch,
    10: _find_coordinator,
    11: _join_group,
    12: lambda m, v, _: [m.Request(GROUP, 1, "m")],
    13: lambda m, v, _: [m.Request(GROUP, [m.MemberIdentity("m")], "m")],
    14: lambda m, v, _: [m.Request(GROUP, 1, "m", None, "consumer", "range")],
    15: lambda m, v, _: [m.Request([GROUP], v >= 3)],
    16: lambda m, v, _: [m.Request()],
    19: lambda m, v, _: [m.Request([m.CreatableTopic(NEW, 1, 1)], validate_only=True)],
    20: _delete_topics,
    21: lambda m, v, _: [m.Request([m.Topic(TOPIC, [m.Partition(0, 0)])], 1000)],
    22: lambda m, v, _: [m.Request(it, MINUTE_MS) for it in (None, TXN)],
    23: lambda m, v, _: [
        m.Request(-1, [m.OffsetForLeaderTopic(TOPIC, [m.OffsetForLeaderPartition(0, -1, 0)])])
    ],
    24: _add_partitions,
    25: lambda m, v, _: [m.Request(TXN, *NOBODY, GROUP)],
    26: lambda m, v, _: [m.Request(TXN, *NOBODY, True)],
    27: lambda m, v, _: [m.Request([m.Marker(*NOBODY, topics=[m.Topic(TOPIC, [0])])])],
    28: lambda m, v, _: [
        m.Request(
            TXN, GROUP, *NOBODY, topics=[m.Topic(TOPIC, [m.Partition(0, 0, committed_metadata="")])]
        )
    ],
    29: lambda m, v, _: [_any_acl(m.Request)],
    30: lambda m, v, _: [m.Request([m.AclCreation(2, "n", 3, "User:al", "*", 3, 3)])],
    31: lambda m, v, _: [m.Request([m.Filter(2, "none", 3, None, None, 1, 1)])],
    32: _describe_configs,
    33: _alter_configs,
    34: lambda m, v, _: [
        m.Request([m.AlterReplicaLogDir("/data", [m.AlterReplicaLogDirTopic(TOPIC, [0])])])
    ],
    35: lambda m, v, _: [m.Request(None)],
    37: lambda m, v, _: [m.Request([m.Topic(TOPIC, 2, None)], 1000, True)],
    42: lambda m, v, _: [m.Request([GROUP])],
    43: lambda m, v, _: [m.Request(0, [m.TopicPartitions(TOPIC, [0])])],
    44: _alter_configs_incrementally,
    45: lambda m, v, _: [
        m.Request(topics=[m.ReassignableTopic(TOPIC, [m.ReassignablePartition(0, [1])])])
    ],
    46: lambda m, v, _: [m.Request()],
    47: lambda m, v, _: [m.Request(GROUP, [m.Topic(TOPIC, [m.Partition(0)])])],
    48: lambda m, v, _: [m.Request()],
    49: lambda m, v, _: [
        m.Request([m.EntryData([m.EntityData("user", "al")], [m.OpData("none", 0.0, True)])], True)
    ],
    50: lambda m, v, _: [m.Request(None)],
    51: lambda m, v, _: [m.Request([m.ScramCredentialDeletion("nobody", 1)])],
    55: lambda m, v, _: [m.Request([m.TopicData("__cluster_metadata", [m.PartitionData(0)])])],
    57: lambda m, v, _: [m.Request(feature_updates=[m.FeatureUpdateKey("f", 1)])],
    60: lambda m, v, _: [m.Request(True)],
    61: lambda m, v, _: [m.Request([m.TopicRequest(TOPIC, [0])])],
    64: lambda m, v, _: [m.Request(1)],
    65: lambda m, v, _: [m.Request([TXN])],
    66: lambda m, v, _: [m.Request()],
    68: _consumer_heartbeat,
    69: lambda m, v, _: [m.Request([MEMBERS], True)],
    74: lambda m, v, _: [m.Request()],
    75: lambda m, v, _: [m.Request([m.TopicRequest(TOPIC)]), m.Request()],
    76: lambda m, v, _: [m.Request(SHARERS + "2", "m", 0, None, [TOPIC])],
    77: lambda m, v, _: [m.Request([SHARERS], True)],
    78: lambda m, v, topic_id: [share_fetch(m, topic_id)],
    79: _share_acknowledge,
    90: lambda m, v, _: [
        m.Request([m.RequestGroup(SHARERS, it)]) for it in ([m.RequestTopic(TOPIC, [0])], None)
    ],
    91: lambda m, v, _: [m.Request(LEFT, [m.RequestTopic(TOPIC, [m.RequestPartition(0, 0)])])],
    92: lambda m, v, _: [m.Request(LEFT, [m.RequestTopic(TOPIC)])],
}  # fmt: skip
