"""A member of a classic group, request by request."""

from wire_client import WireClient

from logstore.kafka.messages import (
    heartbeat,
    join_group,
    leave_group,
    offset_commit,
    offset_fetch,
    sync_group,
)
from logstore.kafka.schema import codec

ID_REQUIRED, NOT_COORDINATOR, REBALANCING, INCONSISTENT = 79, 16, 27, 23


class Member(WireClient):
    """One of a classic group; each method gives the answer."""

    def __init__(self, endpoint, group="g", session_ms=30_000, member=""):
        super().__init__(endpoint)
        self.group, self.id, self.generation = group, member, -1
        self._session_ms = session_ms

    def join(self):
        answer = self.ask(11, 9, self.a_join(), join_group.Response)
        self.id = answer.member_id
        if answer.error_code == ID_REQUIRED:
            return self.join()
        self.generation = answer.generation_id
        return answer

    def a_join(self):
        protocols = [join_group.Protocol("range", b"\0\0\0\0\0\1\0\1t\0\0\0\0")]
        return join_group.Request(
            self.group, self._session_ms, 10_000, self.id, None, "consumer", protocols
        )

    def sync(self, assignments=()):
        parts = [sync_group.Assignment(*it) for it in assignments]
        request = sync_group.Request(
            self.group, self.generation, self.id, None, "consumer", "range", parts
        )
        return self.ask(14, 5, request, sync_group.Response)

    def settle(self):
        """Become the group's only member."""
        assert self.join().error_code == 0
        assert self.sync([(self.id, b"all")]).error_code == 0
        return self

    def a_beat(self):
        """The body of a heartbeat, in version 4."""
        out = bytearray()
        request = heartbeat.Request(self.group, self.generation, self.id)
        codec(heartbeat.Request, 4, True).write(out, request)
        return bytes(out)

    def beat(self):
        request = heartbeat.Request(self.group, self.generation, self.id)
        return self.ask(12, 4, request, heartbeat.Response).error_code

    def leave(self):
        request = leave_group.Request(self.group, [leave_group.MemberIdentity(self.id)])
        return self.ask(13, 5, request, leave_group.Response).members[0].error_code

    def commit(self, offset, topic="t"):
        parts = [offset_commit.Partition(0, offset)]
        request = offset_commit.Request(
            self.group, self.generation, self.id,
            topics=[offset_commit.Topic(name=topic, partitions=parts)],
        )  # fmt: skip
        answer = self.ask(8, 9, request, offset_commit.Response)
        return answer.topics[0].partitions[0].error_code

    def committed(self):
        """{topic: offset}"""
        request = offset_fetch.Request([offset_fetch.Group(self.group, topics=None)])
        [found] = self.ask(9, 9, request, offset_fetch.Response).groups
        return {it.name: it.partitions[0].committed_offset for it in found.topics}
