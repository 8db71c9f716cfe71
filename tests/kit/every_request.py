"""Any request in any version, and its answer, which kio must read."""

import uuid

import kio_oracle as kio
from fetch_kit import asking

from logstore.kafka.schema import codec
from logstore.protocols.kafka.apis import APIS


def a_produce_request(version, rng):
    module = kio.module_of("produce", version, "request")
    topics = []
    for n in range(rng.randrange(3)):
        parts = tuple(
            module.PartitionProduceData(
                index=it, records=rng.choice([None, b"", rng.randbytes(rng.randrange(300))])
            )
            for it in range(rng.randrange(3))
        )
        place = {"topic_id": uuid.UUID(int=n + 1)} if version >= 13 else {"name": f"topic-{n}"}
        topics.append(module.TopicProduceData(partition_data=parts, **place))
    return module.ProduceRequest(
        transactional_id=rng.choice([None, "t"]),
        acks=rng.choice([-1, 0, 1]),
        timeout=kio.milliseconds(rng.randrange(10_000)),
        topic_data=tuple(topics),
    )


def a_request(key, version, rng):
    if key == 0:
        return kio.written_by_kio(a_produce_request(version, rng))
    if key == 1:
        places = [(rng.choice(["topic", "none"]), rng.randrange(3), rng.randrange(-1, 3), 999)]
        return asking(version, places, session=(rng.randrange(2), rng.randrange(-1, 2)))
    kind = kio.ours(APIS[key].name).Request
    out = bytearray()
    request = kio.random_message(kind, version, rng)
    if key == 78:
        request.max_wait_ms = 0
    codec(kind, version, version >= APIS[key].flexible).write(out, request)
    return bytes(out)


def check_answer(key, version, body):
    if version >= APIS[key].flexible and key != 18:
        assert body[:1] == b"\0"
        body = body[1:]
    entity = kio.read_by_kio(APIS[key].name, version, "response", body)
    assert kio.written_by_kio(entity) == body
