"""One Kafka connection: frames in, frames out, replies in the order of the requests.

Knows framing, headers, versions and order; the table in ``apis.py`` has the handlers.
"""

from collections.abc import Callable, Sequence
from struct import Struct
from typing import TYPE_CHECKING, Final

from logstore.access.quotas import PRODUCER_RATE
from logstore.broker.admission import GLANCE_MAX
from logstore.errors import BrokenProtocol, LogstoreError
from logstore.foreign import HEAD_BYTES, not_http, speaks_http, speaks_tls, without_tls
from logstore.kafka import wire
from logstore.protocols.kafka.answers import take, unsupported
from logstore.protocols.kafka.apis import API_VERSIONS, APIS, PRODUCE
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.door import KafkaDoor
from logstore.protocols.kafka.slots import Ready, Slot
from logstore.protocols.kafka.throttling import Late, Throttled
from logstore.protocols.session import About, Buffer, Wake

if TYPE_CHECKING:
    from logstore.protocols.kafka.sasl import Sasl
    from logstore.subject import Certificate

SIZE_BYTES: Final = 4
# Requests under way at once; more are taken when some are answered. Clients have five.
SLOTS_MAX: Final = 256
# Answers are as long as their work takes: this many bytes may be owed and are accepted in one go,
# before other sessions have their turn.
OWED_BYTES_MAX: Final = 64 << 10
TAKEN_AT_ONCE: Final = 32
# Bytes of a request without records: 100,000 partitions with offsets and metadata. Each byte may
# become an object, so the limit is well below that for records.
OTHER_BYTES_MAX: Final = 8 << 20
CLIENT_ID_SHOWN: Final = 64
PROTOCOL: Final = "the Kafka protocol"  # as a peer of another is told of

_HEADER = Struct(">hhi")  # api key, api version, correlation id
_KEY = Struct(">h")
_SIZE = Struct(">i")
_REPLY = Struct(">ii")  # size, correlation id


def _check_head(head: bytes) -> None:
    """Raise BrokenProtocol if the bytes are of another protocol, and not a request's size."""
    if speaks_tls(head):
        raise BrokenProtocol(without_tls(PROTOCOL, "kafka.tls.port"))
    if speaks_http(head):
        raise BrokenProtocol(not_http(PROTOCOL))


def _login(client: KafkaClient, certificate: "Certificate | None") -> "Sasl":
    from logstore.protocols.kafka.sasl import (
        Sasl,  # hashes and patterns, only where there are users
    )

    return Sasl(client, certificate)


class KafkaSession:
    """One Kafka connection, as a ``Session``."""

    def __init__(
        self,
        door: KafkaDoor,
        wake: Wake,
        address: tuple[str, int],
        peer: tuple[str, int],
        certificate: "Certificate | None" = None,
        *,
        secure: bool = False,
        cut: Callable[[str], None] | None = None,
        number: int = 0,
    ) -> None:
        """``address``: the address of this node that clients are told.

        ``certificate``: the client's verified certificate. ``secure``: the connection uses TLS.
        ``cut``: as Link.cut. ``number``: as Link.id.
        """
        self.wants = 0
        self._client = KafkaClient(door, wake, address, peer, secure=secure, cut=cut, number=number)
        door.clients.add(self._client)
        self._slots = self._client.slots
        self._frame_bytes_max = min(
            door.settings.socket_request_max_bytes, door.budget.request_bytes_max
        )
        # Before requests are served, and later if logins expire.
        self._login = _login(self._client, certificate) if door.access.required else None
        self._finishing = False
        self._heard = False  # the first bytes, by which a peer at the wrong port is known
        self._owed = 0  # bytes of answers that are made and not sent
        self._held_bytes = 0  # by the slots, but for one that nothing is taken before

    def about(self) -> About:
        """As Doorway.about."""
        client = self._client
        state = "busy" if self._slots else "idle"
        if self._login is not None and not self._login.done:
            state = "logging in"
        elif self._muted:
            state = "throttled"
        elif self._slots and self._slots[0][0].deadline is not None:
            state = "waiting"
        user = client.rights.who.user
        return About(user, client.id[:CLIENT_ID_SHOWN], client.software, state)

    # The session of the server

    @property
    def busy(self) -> bool:
        return bool(self._slots) or self._muted  # input that arrived meanwhile is then processed

    @property
    def kept(self) -> bool:
        return self._client.kept

    @property
    def closed(self) -> str | None:
        return self._client.closed

    @property
    def held_bytes(self) -> int:
        held, fetching = self._client.held, self._client.fetching
        return (
            self._held_bytes
            + (0 if held is None else held.held_bytes)
            + (0 if fetching is None else fetching.held_bytes)
            + self._client.sharing_bytes
        )

    @property
    def deadline(self) -> float | None:
        # Later requests cannot be answered before the first one.
        due = self._slots[0][0].deadline if self._slots else None
        given_up = None if self._login is None else self._login.deadline
        if given_up is not None and (due is None or given_up < due):
            due = given_up
        until = self._client.muted_until
        return until if self._muted and (due is None or until < due) else due

    @property
    def _muted(self) -> bool:
        # Unread input of a peer that sends nothing more is bounded; the wait is not.
        return self._client.now < self._client.muted_until and not self._finishing

    def receive(self, data: memoryview, now: float) -> int:
        """As Session.receive."""
        self._client.now, self._client.glances_left = now, GLANCE_MAX
        self._client.kept = False
        login = self._login
        if login is not None:
            login.look(now)
        at, end, taken = 0, len(data), 0
        try:
            if not self._heard and end >= SIZE_BYTES:
                self._heard = True
                _check_head(bytes(data[:HEAD_BYTES]))
            while end - at >= SIZE_BYTES and taken < TAKEN_AT_ONCE and not self._full():
                size = _SIZE.unpack_from(data, at)[0]
                early = login is not None and (login.raw or not login.done)
                if early or not _HEADER.size <= size <= self._frame_bytes_max:
                    self._check_size(size)
                after = at + SIZE_BYTES + size
                if size > OTHER_BYTES_MAX and end - at >= SIZE_BYTES + _KEY.size:
                    self._check_large(_KEY.unpack_from(data, at + SIZE_BYTES)[0], size)
                if after > end:
                    self.wants = SIZE_BYTES + size
                    break
                self.wants = 0
                self._take(data[at + SIZE_BYTES : after])
                at = after
                taken += 1
        except BrokenProtocol as error:
            self._client.end(str(error))
            at = end
        self._client.sync_now()
        return at

    def _check_size(self, size: int) -> None:
        """Check the size of a request. Raises BrokenProtocol."""
        settings, login = self._client.door.settings, self._login
        low, high = _HEADER.size, self._frame_bytes_max
        less = high < settings.socket_request_max_bytes
        limit = "half of memory.clients.max.bytes" if less else "socket.request.max.bytes"
        if login is not None and login.raw:
            low = 0
        if login is not None and not login.done and login.bytes_max < high:
            high, limit = login.bytes_max, "before a login the most"
            if high == settings.sasl_server_max_receive_size:
                limit = "sasl.server.max.receive.size"
        if not low <= size <= high:
            raise BrokenProtocol(f"a request of {size} bytes; {limit} is {high}")

    @staticmethod
    def _check_large(key: int, size: int) -> None:
        if key != PRODUCE:
            raise BrokenProtocol(
                f"a request of {size} bytes with api key {key}: without records it has "
                f"{OTHER_BYTES_MAX} at most"
            )

    def _full(self) -> bool:
        return (
            self.closed is not None
            or self._client.held is not None
            or self._muted
            or self._owed >= OWED_BYTES_MAX
            or len(self._slots) >= SLOTS_MAX
        )

    def wake(self, now: float) -> None:
        """As Session.wake."""
        self._client.now = now
        if self._login is not None:
            self._login.look(now)
        if not self._slots:  # else woken for nothing; a new wait watches again
            self._client.unwatch()

    def outgoing(self, bytes_max: int) -> Sequence[Buffer]:
        """As Session.outgoing."""
        slots, total = self._slots, 0
        out: list[Buffer] = []
        while slots and total < bytes_max:
            slot, correlation, tagged = slots[0]
            if not slot.ready(self._client.now):
                break
            slots.popleft()
            if slot is self._client.held:
                self._client.held = None
            else:
                self._held_bytes -= slot.held_bytes
            if isinstance(slot, Ready):
                self._owed -= slot.held_bytes
            try:
                body = slot.body()
            except LogstoreError as error:  # earlier answers are still sent
                self._client.end(str(error))
                break
            if body is None:
                continue
            if self._client.answer_at is not None and not self._finishing:
                self._hold_back(body, correlation, tagged=tagged)
                break
            size = sum(map(len, body)) + tagged
            if correlation is None:
                out.append(_SIZE.pack(size))
            else:
                out.append(_REPLY.pack(size + 4, correlation) + (b"\0" if tagged else b""))
            out += body
            total += size
        return out

    def _hold_back(self, body: Sequence[Buffer], correlation: int | None, *, tagged: bool) -> None:
        """Delay the answer to a client that ignores its throttle time."""
        at, self._client.answer_at = self._client.answer_at, None
        assert at is not None
        late = Late(body, at)
        self._held_bytes += late.held_bytes
        self._slots.appendleft((late, correlation, tagged))

    def finish(self, now: float) -> None:
        """As Session.finish."""
        self._client.now = now
        self._finishing = True  # also for requests processed later
        for slot, _, _ in self._slots:
            slot.finish()

    def leave(self, now: float) -> bool:
        """As Session.leave: what has arrived is answered, and that is all."""
        return False

    def close(self) -> None:
        """As Session.close."""
        self._client.door.clients.discard(self._client)
        self._client.seat.close()
        self._client.unwatch()
        self._client.gone()
        for slot, _, _ in self._slots:
            if isinstance(slot, Late):
                slot.drop()
        self._slots.clear()
        self._client.held = self._client.fetching = None
        self._held_bytes = 0

    # Requests

    def _take(self, frame: memoryview) -> None:
        login = self._login
        if login is not None and login.raw:
            self._keep(login.take_raw(bytes(frame)), None, tagged=False)
            return
        key, version, correlation = _HEADER.unpack_from(frame)
        if login is not None:
            if login.passes(key):
                login = None
            else:
                login.check(key)
        api = APIS.get(key)
        if api is None:
            raise BrokenProtocol(f"api key {key} is not served here")
        if not api.low <= version <= api.high:
            if key != API_VERSIONS:
                raise BrokenProtocol(
                    f"{api.name} version {version} is not served here: {api.low} to {api.high} are"
                )
            # KIP-511: answered in version 0, so that the client can choose again.
            self._keep(Ready(unsupported()), correlation, tagged=False)
            return
        if login is not None and key == API_VERSIONS:
            login.told_versions()
        flexible = version >= api.flexible
        client_id, at = _nullable_string(frame, _HEADER.size)
        if client_id is not None and client_id != self._client.id:
            self._client.id = client_id
        if flexible:
            at = wire.skip_tags(frame, at)
        slot = None if login is None else login.take(api, version, frame, at)
        if slot is None:
            # The request counts for the quota before it is written, and is accepted even above the
            # quota.
            wait_ms = self._client.used(PRODUCER_RATE, len(frame)) if key == PRODUCE else 0
            slot = take(api, self._client, version, frame, at)
            if wait_ms and slot is not None:
                slot = self._throttled(slot, version, wait_ms)
        if slot is not None:
            # KIP-511: a client that knows no versions yet could not read a tagged header.
            self._keep(slot, correlation, tagged=flexible and key != API_VERSIONS)

    def _throttled(self, slot: Slot, version: int, wait_ms: int) -> Slot:
        throttled = Throttled(self._client, slot, version, wait_ms)
        if self._client.held is slot:
            self._client.hold(throttled)
        return throttled

    def _keep(self, slot: Slot, correlation: int | None, *, tagged: bool) -> None:
        """Queue the slot of a request; without a correlation id, of a token."""
        if self._login is not None and self._login.over:
            self._login = None
        if isinstance(slot, Ready):
            self._owed += slot.held_bytes
        if slot is not self._client.held:
            self._held_bytes += slot.held_bytes
        self._slots.append((slot, correlation, tagged))
        if self._finishing:
            slot.finish()


_nullable_string, _ = wire.string(compact=False, nullable=True)
