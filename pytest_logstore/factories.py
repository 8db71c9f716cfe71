"""Topics, queues and channels with names that no other test has."""

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pytest_logstore.api import ApiRefused
from pytest_logstore.server import Server, setting_text

_GONE = 404


def fresh(name: str) -> str:
    """The name with something behind it that makes it unique, beside other processes as well."""
    return f"{name}-{os.urandom(4).hex()}"


def topics(server: Server) -> Iterator[Callable[..., str]]:
    """What makes topics; they are deleted in the end."""
    made = []

    def make(
        name: str = "topic", partitions: int = 1, settings: Mapping[str, Any] | None = None
    ) -> str:
        topic = fresh(name)
        texts = {it: setting_text(value) for it, value in (settings or {}).items()}
        server.api.post(
            "topics", value={"name": topic, "partitions": partitions, "settings": texts}
        )
        made.append(topic)
        return topic

    yield make
    for topic in made:
        _remove(server, "topics", topic)


def queues(server: Server) -> Iterator[Callable[..., str]]:
    """What makes queues of the virtual host ``/``; they are deleted in the end."""
    made = []

    def make(name: str = "queue", arguments: Mapping[str, Any] | None = None) -> str:
        queue = fresh(name)
        server.api.put(
            "queues", queue, vhost="/", value={"durable": True, "arguments": dict(arguments or {})}
        )
        made.append(queue)
        return queue

    yield make
    for queue in made:
        _remove(server, "queues", queue, vhost="/")


def _remove(server: Server, *path: str, **query: str) -> None:
    try:
        server.api.delete(*path, **query)
    except ApiRefused as refused:
        if refused.status != _GONE:  # the test did it itself
            raise
