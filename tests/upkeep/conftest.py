"""A store whose one topic has much to compact, and whose upkeep does nothing by itself."""

import pytest

import logstore
from logstore.config import Config

OFF = Config({"upkeep.interval.ms": ("-1", "test")})
COMPACTED = {
    "cleanup.policy": "compact", "segment.bytes": 500, "min.cleanable.dirty.ratio": 0,
}  # fmt: skip


@pytest.fixture
def store(tmp_path):
    with logstore.open(tmp_path / "data", config=OFF) as store:
        topic = store.create_topic("t", settings=COMPACTED)
        for n in range(60):
            topic.append(b"%d" % n, key=b"k%d" % (n % 4))
        yield store
