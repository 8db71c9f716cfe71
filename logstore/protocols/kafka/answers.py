"""From a request's bytes to its answer's: read, carried out here or in a worker, encoded."""

from collections.abc import Callable
from functools import partial
from typing import Final

from logstore.kafka.schema import codec
from logstore.protocols.kafka.apis import API_VERSIONS, APIS, Api, versions_served
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.door import InWorker, Later, elsewhere
from logstore.protocols.kafka.errors import UNSUPPORTED_VERSION
from logstore.protocols.kafka.handler import Handler
from logstore.protocols.kafka.slots import Promised, Ready, Slot

LARGE_BYTES: Final = 4 << 10  # of a request: hundreds of names


def take(api: Api, client: KafkaClient, version: int, frame: memoryview, at: int) -> Slot | None:
    """Have the request done that begins at ``at``, and keep its place. Raises BrokenProtocol."""
    if api.raw is not None:
        return api.raw(client, version, frame, at)
    slot = _call(api, client, version, frame, at)
    if isinstance(slot, Promised) and not slot.ready(client.now):
        client.hold(slot)
    return slot


def unsupported() -> bytearray:
    """The answer to an ApiVersions request of a version that is unknown here (KIP-511)."""
    api = APIS[API_VERSIONS]
    return _encode(api, api.handler(), 0, versions_served(UNSUPPORTED_VERSION))


def _call(api: Api, client: KafkaClient, version: int, frame: memoryview, at: int) -> Slot:
    if api.slow or (api.free and len(frame) > LARGE_BYTES):
        copy = memoryview(bytes(frame))  # its buffer will be used again
        return _elsewhere(client, partial(_done, api, client, version, copy, at))
    handler = api.handler()
    done = _carried_out(api, handler, client, version, frame, at)
    if isinstance(done, InWorker):
        return _elsewhere(client, lambda: _encode(api, handler, version, done.work()))
    if isinstance(done, Later):
        if done.answer is None:
            done.waiting(client.wake)
        return Promised(done, partial(_encode, api, handler, version))
    return Ready(_encode(api, handler, version, done))


def _carried_out(
    api: Api, handler: Handler, client: KafkaClient, version: int, frame: memoryview, at: int
) -> object:
    request, _ = codec(handler.request, version, version >= api.flexible).read(frame, at)
    return handler.run(client, version, request)


def _elsewhere(client: KafkaClient, job: Callable[[], bytearray]) -> Slot:
    """The answer's bytes are made in another thread: many of them take long, too."""
    later = elsewhere(client.door, job)
    later.waiting(client.wake)
    return Promised(later, _made_already)


def _made_already(answer: object) -> bytearray:
    assert isinstance(answer, bytearray)
    return answer


def _done(api: Api, client: KafkaClient, version: int, frame: memoryview, at: int) -> bytearray:
    handler = api.handler()
    done = _carried_out(api, handler, client, version, frame, at)
    return _encode(api, handler, version, done.work() if isinstance(done, InWorker) else done)


def _encode(api: Api, handler: Handler, version: int, response: object) -> bytearray:
    """The response's bytes, without its header."""
    out = bytearray()
    codec(handler.response, version, version >= api.flexible).write(out, response)
    return out
