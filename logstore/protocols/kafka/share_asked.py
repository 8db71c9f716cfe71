"""The content of a share session's request: partitions to read, and acknowledgements.

A client may name a topic several times in one request, and a partition both to read it and to
acknowledge its records (librdkafka does); these are merged.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from logstore.broker.shares.acknowledgement import Acknowledged, Said, said
from logstore.broker.shares.sessions import PARTITIONS_MAX, TopicPartition
from logstore.errors import Refused
from logstore.kafka.messages import share_acknowledge as acknowledge_messages
from logstore.kafka.messages import share_fetch as fetch_messages

MEMBER_CHARACTERS_MAX: Final = 36  # of an id, which the client makes: a UUID


class Asked(NamedTuple):
    """The content of one request."""

    group: str
    member: str
    epoch: int
    places: Sequence[TopicPartition]  # each once
    said: dict[TopicPartition, Sequence[Said] | Refused]  # partitions with acknowledgements
    forgotten: Sequence[TopicPartition]

    def check(self) -> None:
        """Check names and sizes of the request. Raises Refused."""
        if not self.group or not 0 < len(self.member) <= MEMBER_CHARACTERS_MAX or self.epoch < -1:
            raise Refused(
                f"member {self.member[:60]!r} of share group {self.group[:60]!r} at epoch "
                f"{self.epoch}: a group, a member id of at most {MEMBER_CHARACTERS_MAX} characters "
                f"and an epoch of at least -1 are needed"
            )
        if len(self.places) > PARTITIONS_MAX:
            raise Refused(
                f"a request names {len(self.places)} partitions: at most {PARTITIONS_MAX} allowed"
            )


Request = fetch_messages.Request | acknowledge_messages.Request


def asked_by(request: Request) -> Asked:
    """Check the request, except against the state of partitions. Callable from another thread."""
    batches: dict[TopicPartition, list[acknowledge_messages.AcknowledgementBatch]] = {}
    twice: set[TopicPartition] = set()
    for topic in request.topics:
        for it in topic.partitions:
            place = topic.topic_id, it.partition_index
            known = batches.setdefault(place, [])
            if known and it.acknowledgement_batches:
                twice.add(place)
            known += it.acknowledgement_batches
    for place in twice:
        batches[place].sort(key=lambda it: it.first_offset)
    told = {place: _said(its, renews=request.is_renew_ack) for place, its in batches.items() if its}
    forgotten = (
        [(it.topic_id, n) for it in request.forgotten_topics_data for n in it.partitions]
        if isinstance(request, fetch_messages.Request)
        else []
    )
    return Asked(
        request.group_id or "", request.member_id or "", request.share_session_epoch,
        list(batches), told, forgotten,
    )  # fmt: skip


def _said(
    batches: Sequence[acknowledge_messages.AcknowledgementBatch], *, renews: bool
) -> Sequence[Said] | Refused:
    try:
        return said(
            [Acknowledged(it.first_offset, it.last_offset, it.acknowledge_types) for it in batches],
            renews=renews,
        )
    except Refused as error:
        return error
