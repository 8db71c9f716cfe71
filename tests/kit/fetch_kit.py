"""Fetch requests as kio writes them, and answers as it reads them."""

import uuid

import kio_oracle as kio

MIB = 1 << 20


def asking(version, places, *, wait_ms=0, min_bytes=1, max_bytes=50 * MIB, isolation=0,
           session=(0, -1), forgotten=()):  # fmt: skip
    """A Fetch request, encoded by kio. ``places``: (topic, partition, offset, max bytes)."""
    module = kio.module_of("fetch", version, "request")

    def fitting(kind, **facts):
        names = {field.name for field in kio.fields(kind)}
        return kind(**{name: value for name, value in facts.items() if name in names})

    def topic(kind, name, partitions):
        place = {"topic_id": uuid.uuid5(uuid.NAMESPACE_DNS, name), "topic": name}
        return fitting(kind, partitions=partitions, **place)

    by_topic = {}
    for name, partition, offset, size in places:
        by_topic.setdefault(name, []).append(
            fitting(
                module.FetchPartition, partition=partition, fetch_offset=offset,
                partition_max_bytes=size, log_start_offset=-1, last_fetched_epoch=-1,
                current_leader_epoch=-1,
            )
        )  # fmt: skip
    request = fitting(
        module.FetchRequest, replica_id=-1, max_wait=kio.milliseconds(wait_ms), min_bytes=min_bytes,
        max_bytes=max_bytes, isolation_level=isolation, session_id=session[0],
        session_epoch=session[1], rack_id="",
        topics=tuple(topic(module.FetchTopic, n, tuple(p)) for n, p in by_topic.items()),
        forgotten_topics_data=tuple(
            topic(module.ForgottenTopic, name, (partition,)) for name, partition in forgotten
        ),
    )  # fmt: skip
    return kio.written_by_kio(request)


def answer(talk, version):
    [(_, body)] = talk.replies()
    if version >= 12:
        assert body[:1] == b"\0"
        body = body[1:]
    return kio.plain(kio.read_by_kio("fetch", version, "response", body), "")
