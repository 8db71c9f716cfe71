"""Channels within a process: publishing, and listening by iterating. No wire, no event loop."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Self

from logstore.broker.channel import Channels
from logstore.broker.history import Kept
from logstore.broker.listeners import Form, Match
from logstore.broker.unsafe import Unsafe
from logstore.errors import FellBehind, Forked

UNREAD_BYTES_MAX: Final = 32 << 20  # as the hard limit of Redis's client-output-buffer-limit


class Published(NamedTuple):
    """One message as a listener receives it; ``pattern``: the pattern that matched, if any."""

    channel: bytes
    payload: bytes
    pattern: bytes | None


class _Listed:
    """A ``Form`` whose chunks are lists of messages."""

    def opening(self, match: Match) -> Match:
        return match

    def chunk(self, openings: Sequence[Match], payloads: Sequence[bytes]) -> list[Published]:
        return [
            Published(match.channel, payload, match.pattern)
            for payload in payloads
            for match in openings
        ]

    def join(self, chunks: Sequence[list[Published]]) -> list[Published]:
        return [message for chunk in chunks for message in chunk]


_LISTED: Final = _Listed()


class Listener:
    """Messages in the order in which they are published; iterating waits for the next one.

    A listener that leaves more than 32 MiB unread is cut off, and gets FellBehind after the
    messages it had received. Thread-safe. A ``Subscriber``.
    """

    def __init__(
        self, channels: Channels, names: Iterable[bytes], patterns: Iterable[bytes],
        forget: Callable[["Listener"], None], told: Callable[[], object] = lambda: None,
    ) -> None:  # fmt: skip
        """``told``: called, from any thread, when ``get`` has something to return."""
        self.form: Form = _LISTED
        self._channels = channels
        self._forget = forget
        self._told = told
        self._unread: deque[Published] = deque()
        self._unread_bytes = 0
        self._arrived = threading.Condition()
        self._closed = self._fell_behind = False
        self._forked: Forked | None = None
        try:
            names = list(names)
            channels.open_histories(channels.unopened([(name, True) for name in names]))
            with channels.lock:
                for name in names:
                    channels.subscribe(self, name)
                for pattern in patterns:
                    channels.subscribe_pattern(self, pattern)
        except BaseException:
            self.close()
            raise

    def forked(self, error: Forked) -> None:
        """As ``Forkable.forked``: published messages reach the parent's listener."""
        self._arrived = threading.Condition()
        self._forked = error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Published]:
        """Iterate until the listener is closed, here or elsewhere. Raises FellBehind."""
        while (message := self.get()) is not None:
            yield message

    def deliver(self, chunk: list[Published]) -> None:
        """As Subscriber.deliver."""
        with self._arrived:
            if self._closed or self._fell_behind:
                return
            self._unread += chunk
            self._unread_bytes += sum(len(it.payload) + len(it.channel) for it in chunk)
            self._fell_behind = self._unread_bytes > UNREAD_BYTES_MAX
            self._arrived.notify_all()
        self._told()
        if self._fell_behind:
            self._channels.leave(self)

    def deliver_kept(self, chunk: list[Published], kept: Kept) -> None:
        """As Subscriber.deliver_kept."""
        self.deliver(chunk)

    def get(self, timeout_s: float | None = None) -> Published | None:
        """The next message; None after close, or if none arrives in time. Raises FellBehind."""
        if self._forked is not None:
            raise self._forked
        with self._arrived:
            self._arrived.wait_for(
                lambda: self._unread or self._closed or self._fell_behind, timeout_s
            )
            if self._closed:
                return None
            if self._unread:
                message = self._unread.popleft()
                self._unread_bytes -= len(message.payload) + len(message.channel)
                return message
            if self._fell_behind:
                raise FellBehind(
                    f"a listener left more than {UNREAD_BYTES_MAX} bytes unread and was cut off; "
                    f"read faster, or give the channel a history"
                )
            return None

    def close(self) -> None:
        """Stop listening; unread messages are dropped."""
        with self._channels.lock:
            self._channels.leave(self)
        with self._arrived:
            self._closed = True
            self._unread.clear()
            self._arrived.notify_all()
        self._told()
        self._forget(self)

    @property
    def closed(self) -> bool:
        """Whether it has stopped listening and dropped its messages."""
        return self._closed


class Channel:
    """One channel by its name."""

    def __init__(
        self, name: bytes, channels: Channels, listen: Callable[[bytes], Listener]
    ) -> None:
        self.name = name
        self._channels = channels
        self._listen = listen

    def __repr__(self) -> str:
        return f"<Channel {self.name!r}>"

    def publish(self, payload: bytes) -> int:
        """Publish a message; returns the number of subscribers that receive it.

        In a channel with a history, the message is synced on return. Raises Closed; InvalidRecord,
        InvalidName, Failed for a channel with a history.
        """
        self.check(payload)
        self.open()
        receivers, unsafe = self.put(payload)
        unsafe.wait()
        return receivers

    @staticmethod
    def check(payload: bytes) -> None:
        """Check a payload. Raises TypeError."""
        if not isinstance(payload, bytes):
            raise TypeError(f"a payload is bytes, not {type(payload).__name__}")

    @property
    def opened(self) -> bool:
        """Whether its history, if any, is open; otherwise ``put`` must not be called."""
        return not self._channels.unopened([(self.name, True)])

    def open(self) -> None:
        """Open its history, which may take long."""
        self._channels.open_histories(self._channels.unopened([(self.name, True)]))

    def put(self, payload: bytes) -> tuple[int, Unsafe]:
        """Publish without waiting; return the number of receivers, and what must become safe."""
        unsafe = Unsafe()
        with self._channels.lock:
            self._channels.check_open()
            receivers = self._channels.publish(self.name, payload, unsafe)
            self._channels.settle_elsewhere()
        return receivers, unsafe

    def subscribe(self) -> Listener:
        """Return a listener for messages published from now on. Raises Closed."""
        return self._listen(self.name)
