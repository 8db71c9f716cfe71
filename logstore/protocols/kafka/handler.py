"""The handler of one kind of request."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.door import InWorker, Later
from logstore.protocols.kafka.slots import Slot
from logstore.slices import Steps

Request = TypeVar("Request")
Response = TypeVar("Response")

# Decodes its own bytes, because they carry records: client, version, the frame and the body's
# start.
Raw = Callable[[KafkaClient, int, memoryview, int], Slot | None]


@dataclass(frozen=True, slots=True)
class Handler:
    """The request and reply messages, and the function between them."""

    request: type
    response: type
    run: Callable[[KafkaClient, int, Any], Any]


Handlers = Mapping[int, Handler]  # by the key of the request


def handler(
    request: type[Request],
    response: type[Response],
    run: Callable[[KafkaClient, int, Request], Response | Later | InWorker | Steps],
) -> Handler:
    """``run`` is called with the client, the version and the request.

    It returns the response; or a Later whose answer is the response; or an InWorker that makes it;
    or the steps of long work, which return any of these.
    """
    return Handler(request, response, run)
