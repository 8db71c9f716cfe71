"""A member of a share group, as its connection says it."""

from clock import NOW_MS
from door_kit import Talk

from logstore.kafka.messages import share_acknowledge, share_fetch
from logstore.protocols.kafka.errors import NONE
from logstore.records.encode import encode

GAP, ACCEPT, RELEASE, REJECT, RENEW = range(5)
LOCK_S = 30


class Sharer:
    """One connection, one member; requests in their order unless a test says otherwise."""

    def __init__(self, member="a", group="g", beside=None, version=2, talk=None):
        self.talk = talk or Talk(beside=beside)
        self.member, self.group, self.version = member, group, version
        self.epoch = 0

    def topic(self, name="t", partitions=1, begins="earliest"):
        settings = self.talk.coordinator.group_settings
        settings.alter(self.group, {"share.auto.offset.reset": begins}, ())
        return self.talk.topics.create(name, partitions, {})

    def setting(self, name, value):
        self.talk.coordinator.group_settings.alter(self.group, {name: value}, ())

    def request(self, places=(), said=(), forget=(), *, epoch=None, wait_ms=0, min_bytes=1,
                max_bytes=1 << 20, most=500, mode=0, renews=False):  # fmt: skip
        """``said``: (topic, partition, [(first, last, types)]) of each."""
        topics = [
            share_fetch.FetchTopic(topic.uuid, [share_fetch.FetchPartition(number)])
            for topic, number in places
        ] + [
            share_fetch.FetchTopic(topic.uuid, [share_fetch.FetchPartition(number, batches(told))])
            for topic, number, told in said
        ]
        return share_fetch.Request(
            self.group, self.member, self.epoch if epoch is None else epoch, wait_ms, min_bytes,
            max_bytes, most, most, mode, renews, topics,
            [share_fetch.ForgottenTopic(topic.uuid, [number]) for topic, number in forget],
        )  # fmt: skip

    def send(self, *args, **kwargs):
        return self.talk.say(78, self.version, self.request(*args, **kwargs))

    def heard(self):
        """The answer to the last request; None if there is none yet."""
        replies = self.talk.replies()
        if not replies:
            return None
        [(_, body)] = replies
        answer = self.talk.read(78, self.version, share_fetch.Response, body)
        if answer.error_code == NONE:
            self.epoch += 1
        return answer

    def fetch(self, *args, **kwargs):
        self.send(*args, **kwargs)
        answer = self.heard()
        assert answer is not None
        return answer

    def acknowledge(self, *said, epoch=None, renews=False):
        """As ``request``."""
        self.say(*said, epoch=epoch, renews=renews)
        return self.acknowledged()

    def say(self, *said, epoch=None, renews=False):
        topics = [
            share_acknowledge.Topic(
                topic.uuid, [share_acknowledge.Partition(number, batches(told))]
            )
            for topic, number, told in said
        ]
        epoch = self.epoch if epoch is None else epoch
        request = share_acknowledge.Request(self.group, self.member, epoch, renews, topics)
        self.talk.say(79, self.version, request)

    def acknowledged(self):
        replies = self.talk.replies()
        if not replies:
            return None
        [(_, body)] = replies
        answer = self.talk.read(79, self.version, share_acknowledge.Response, body)
        if answer.error_code == NONE:
            self.epoch += 1
        return answer


def batches(told):
    return [share_acknowledge.AcknowledgementBatch(*it) for it in told]


def parts_of(answer):
    """Number, codes and acquired records of each partition."""
    return {
        (topic.topic_id, it.partition_index): it
        for topic in answer.responses
        for it in topic.partitions
    }


def acquired(answer, topic, partition=0):
    it = parts_of(answer).get((topic.uuid, partition))
    if it is None:
        return None
    return [(a.first_offset, a.last_offset, a.delivery_count) for a in it.acquired_records]


def append(topic, count=1, partition=0):
    """Append a batch."""
    rows = [(b"%d" % n, None, (), NOW_MS) for n in range(count)]
    return topic.partitions[partition].append(encode(rows))
