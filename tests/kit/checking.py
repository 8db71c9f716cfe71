"""What a self-check has around it, over any client of a cluster."""

from logstore.cluster.self_check import SelfCheck
from logstore.cluster.writer import PartitionWriter


class Checking:
    """``heard``: what came of it. ``client``: with identities, writer and offsets."""

    def __init__(self, client, name, place, now, call_at, now_ms):
        self.client, self.name, self.place = client, name, place
        self.now, self.call_at, self.now_ms = now, call_at, now_ms
        self.heard = []
        self.tell = lambda: None

    def begin(self, **more):
        SelfCheck(self, "kafka-1:9092", self.hear, **more)

    def hear(self, found):
        self.heard.append(found)
        self.tell()

    def watch(self, tell):
        """Call ``tell`` when there is an outcome."""
        self.tell = tell
        return lambda: None

    # Around

    def named(self, then):
        self.client.identities.named(self.name, then)

    def opened(self, identify, news):
        return PartitionWriter(self.client.writer, *self.place, identify, news)

    def trim(self, before, then):
        self.client.offsets.delete_below(self.place, before, then)
