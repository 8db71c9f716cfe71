"""From a request's bytes to its reply's: decodes, executes here or in a worker, encodes."""

from collections.abc import Callable, Generator
from functools import partial
from typing import Final

from logstore.kafka.schema import codec
from logstore.protocols.kafka.apis import API_VERSIONS, APIS, Api, versions_served
from logstore.protocols.kafka.asks import refused_as_a_whole
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.door import InWorker, Later, elsewhere, given, made_elsewhere
from logstore.protocols.kafka.errors import NONE, UNSUPPORTED_VERSION
from logstore.protocols.kafka.handler import Handler
from logstore.protocols.kafka.slots import Promised, Ready, Slot
from logstore.slices import Steps

OBJECT_BYTES: Final = 4  # of a request that was read, for each of its bytes
LARGE_BYTES: Final = 4 << 10  # of a request: hundreds of names


def take(api: Api, client: KafkaClient, version: int, frame: memoryview, at: int) -> Slot | None:
    """Start the request that begins at ``at`` and return its slot. Raises BrokenProtocol."""
    if api.raw is not None:
        return api.raw(client, version, frame, at)
    slot = _call(api, client, version, frame, at)
    if isinstance(slot, Promised) and not slot.ready(client.now):
        client.hold(slot)
    return slot


def unsupported() -> bytearray:
    """The answer to an ApiVersions request of an unsupported version (KIP-511)."""
    api = APIS[API_VERSIONS]
    return _encode(api, api.handler(), 0, versions_served(UNSUPPORTED_VERSION))


def _call(api: Api, client: KafkaClient, version: int, frame: memoryview, at: int) -> Slot:
    if api.slow or (api.free and len(frame) > LARGE_BYTES):
        copy = memoryview(bytes(frame))  # its buffer will be used again
        return _elsewhere(client, partial(_done, api, client, version, copy, at), len(frame))
    handler = api.handler()
    if len(frame) > LARGE_BYTES:
        whole = memoryview(bytes(frame))
        steps = partial(_read_elsewhere, api, handler, client, version, whole, at)
        return _in_slices(client, steps, OBJECT_BYTES * len(frame))
    done = _carried_out(api, handler, client, version, frame, at)
    if isinstance(done, Generator):
        steps = partial(_answered, api, handler, client, version, done)
        return _in_slices(client, steps, OBJECT_BYTES * len(frame))
    if isinstance(done, InWorker):
        made = partial(_worked, api, handler, version, done)
        return _elsewhere(client, made, len(frame))
    if isinstance(done, Later):
        if done.answer is None:
            done.waiting(client.wake)
        begin = partial(_begun, client, api, handler, version)
        return Promised(done, partial(_encode, api, handler, version), len(frame), begin)
    return Ready(_encode(api, handler, version, done))


def _carried_out(
    api: Api, handler: Handler, client: KafkaClient, version: int, frame: memoryview, at: int
) -> object:
    request, _ = codec(handler.request, version, version >= api.flexible).read(frame, at)
    return _run(api, handler, client, version, request)


def _run(api: Api, handler: Handler, client: KafkaClient, version: int, request: object) -> object:
    """Return the result of the handler, or the refusal if the whole request is not allowed."""
    code = refused_as_a_whole(api.asks, client, request)
    if code != NONE:
        return _unauthorized(handler, version, request, code)
    done = handler.run(client, version, request)
    if isinstance(done, Later) and done.answer is None:
        _ask_again(api, handler, client, version, request, done)
    return done


def _unauthorized(handler: Handler, version: int, request: object, code: int) -> object:
    from logstore.protocols.kafka.unauthorized import unauthorized  # most servers never need it

    return unauthorized(handler.response, version, request, code)


def _ask_again(
    api: Api, handler: Handler, client: KafkaClient, version: int, request: object, later: Later
) -> None:
    """Refuse a waiting request as soon as it is no longer allowed; its result is then not sent."""
    then, rules = later.then, client.door.access.version

    def answered(answer: object) -> object:
        client.recheck = None
        if client.door.access.version != rules:
            code = refused_as_a_whole(api.asks, client, request)
            if code != NONE:
                return _unauthorized(handler, version, request, code)
        return answer if then is None else then(answer)

    def recheck() -> None:
        if refused_as_a_whole(api.asks, client, request) != NONE:
            later.give(True)  # whatever it is: the refusal comes in its place

    later.then, client.recheck = answered, recheck


class _Followed(Later):
    """The reply of work in slices, which may end by waiting for another reply."""

    __slots__ = ("_given_up", "_inner", "long")

    def __init__(self) -> None:
        super().__init__()
        self.long = False  # whether it takes more than one step
        self._given_up = False
        self._inner: Later | None = None

    def follow(self, inner: Later) -> Later:
        """Wait for ``inner`` and give up together with it."""
        self._inner = inner
        if self._given_up:
            inner.give_up()
        return inner

    def give_up(self) -> None:
        """As Later.give_up."""
        self._given_up = True
        if self._inner is not None:
            self._inner.give_up()


def _in_slices(
    client: KafkaClient, steps: Callable[[_Followed], Steps], request_bytes: int
) -> Slot:
    """Run ``steps`` in slices until they have made the answer's bytes."""
    later = _Followed()
    if client.door.slices.begin(steps(later), later.give) and isinstance(later.answer, bytearray):
        return Ready(later.answer)
    later.long = True
    later.waiting(client.wake)
    return Promised(later, _made_already, request_bytes)


def _read_elsewhere(
    api: Api,
    handler: Handler,
    client: KafkaClient,
    version: int,
    frame: memoryview,
    at: int,
    later: _Followed,
) -> Steps:
    """Decode a large request and encode its answer in another thread: both are slow and need no
    session.
    """
    read = codec(handler.request, version, version >= api.flexible).read
    later.long = True
    request, _ = yield made_elsewhere(client.door, partial(read, frame, at))
    done = _run(api, handler, client, version, request)
    return (yield from _answered(api, handler, client, version, done, later))


def _answered(
    api: Api, handler: Handler, client: KafkaClient, version: int, done: object, later: _Followed
) -> Steps:
    """Turn the result of a handler into the bytes of the answer."""
    if isinstance(done, Generator):
        done = yield from done
    if isinstance(done, Later):
        then = done.then
        done = yield given(later.follow(done))
        if then is not None:
            done = then(done)
    if not later.long and not isinstance(done, InWorker):
        return _encode(api, handler, version, done)

    def encoded() -> bytearray:
        return _encode(api, handler, version, done.work() if isinstance(done, InWorker) else done)

    return (yield made_elsewhere(client.door, encoded))


def _elsewhere(client: KafkaClient, job: Callable[[], bytearray], request_bytes: int) -> Slot:
    """Make the answer's bytes in another thread, because encoding many of them is slow."""
    later = elsewhere(client.door, job)
    later.waiting(client.wake)
    return Promised(later, _made_already, request_bytes)


def _begun(client: KafkaClient, api: Api, handler: Handler, version: int, made: InWorker) -> Later:
    later = elsewhere(client.door, partial(_worked, api, handler, version, made))
    later.waiting(client.wake)
    return later


def _made_already(answer: object) -> bytearray:
    assert isinstance(answer, bytearray)
    return answer


def _done(api: Api, client: KafkaClient, version: int, frame: memoryview, at: int) -> bytearray:
    handler = api.handler()
    done = _carried_out(api, handler, client, version, frame, at)
    if isinstance(done, InWorker):
        return _worked(api, handler, version, done)
    return _encode(api, handler, version, done)


def _worked(api: Api, handler: Handler, version: int, done: InWorker) -> bytearray:
    return _encode(api, handler, version, done.work())


def _encode(api: Api, handler: Handler, version: int, response: object) -> bytearray:
    """The bytes of the response, without its header."""
    out = bytearray()
    codec(handler.response, version, version >= api.flexible).write(out, response)
    return out
