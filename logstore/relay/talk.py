"""One end of a link, without its socket: its beginning, frames, and whether the peer is alive.

It does not interpret messages: they go to ``told`` once both ends have proved that they know the
secret. A lost link sends nothing more.
"""

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Final, Protocol

from logstore.errors import BrokenProtocol, ClusterUnreachable, LogstoreError
from logstore.relay import proof
from logstore.relay.messages import (
    EARLY_BYTES_MAX,
    FRAME_BYTES_MAX,
    Challenge,
    End,
    Hello,
    Message,
    Ping,
    Pong,
    Proof,
    framed,
    read,
)

BEGIN_S: Final = 5.0  # that both have to come to terms
# A peer that has said nothing for a while is asked, and has so long to answer. Both together are
# the time after which others take its queues over.
PING_S: Final = 2.0
ANSWER_S: Final = 4.0
# An asker that was frozen finds messages that the owner has taken back from it: it goes by what it
# has asked itself, every second, and when that was answered.
PROVE_S: Final = 1.0
FRESH_S: Final = PING_S + ANSWER_S - 1
WHY_BYTES_MAX: Final = 500
OUT_BYTES_MAX: Final = 1 << 20  # to be sent: whoever can wait waits then

_PING: Final = framed(Ping())
_PONG: Final = framed(Pong())


class Told(Protocol):
    """The user of the link."""

    def opened(self, talk: "Talk") -> None:
        """Messages may be put from now on."""

    def heard(self, message: Message) -> None:
        """One has come. Raises BrokenProtocol, which ends the link."""

    def drained(self) -> None:
        """There was much to be sent (``full``), and now more may be put; or it is fresh again."""

    def lost(self, why: LogstoreError) -> None:
        """Nothing more comes; called once, whether it was ready or not."""


class Phase(Enum):
    """The state of the link."""

    HELLO = auto()  # the owner waits for it
    CHALLENGE = auto()  # the asker does
    PROOF = auto()
    OPEN = auto()
    LOST = auto()


class WrongSecret(ClusterUnreachable):
    """The peer does not have this node's secret."""


class Talk:
    """One connection. Used in one thread."""

    __slots__ = (
        "_answered", "_asked", "_asked_at", "_asker", "_begun", "_clock", "_heard_at",
        "_me", "_nonce", "_now", "_out", "_owed", "_ping_at", "_pings", "_proved_at",
        "_secret", "_told", "_vouch", "_wake", "failure", "node", "out_bytes", "phase",
    )  # fmt: skip

    def __init__(
        self,
        me: bytes,
        secret: bytes,
        nonce: bytes,
        told: Told,
        now: Callable[[], float],
        wake: Callable[[], None],
        to: bytes | None = None,
        clock: Callable[[], float] | None = None,
        vouch: Callable[[Callable[[], None]], bool] | None = None,
    ) -> None:
        """``to``: the owner that is asked; None: this is the owner. ``nonce``: by chance.

        ``now``: seconds of a clock that only goes forward; ``wake``: there is something to send, or
        the link is lost. ``clock``: the same seconds, also those in which the process is stopped.
        ``vouch(then)``: whether this owner is sure of what it owns; else ``then`` is called once it
        may be.
        """
        assert len(nonce) == proof.NONCE_BYTES
        self.failure: LogstoreError | None = None
        self.node = to or b""  # the peer's name; of the asker's once it has said so
        self.out_bytes = 0  # to be sent
        self._asker = to is not None
        self._me, self._secret, self._nonce = me, secret, nonce
        self._told, self._now, self._wake = told, now, wake
        self._out: list[bytes] = []
        self._asked: Hello | None = None
        self._answered: Challenge | None = None
        self._begun = self._heard_at = now()
        self._asked_at: float | None = None  # whether it is there, and it has not said so yet
        self._clock = clock or now
        self._proved_at = self._clock()  # when that was said which the owner has answered last
        self._pings: deque[float] = deque()  # when each was said that is not answered
        self._ping_at = 0.0  # when the next one is due, of an asker
        self._vouch = vouch
        self._owed = 0  # answers: as many as it was asked, or the next ones count for earlier ones
        self.phase = Phase.HELLO
        if to is not None:
            self._asked = proof.hello(me, to, nonce)
            self.phase = Phase.CHALLENGE
            self._send(self._asked)

    def begin(self) -> None:
        """The time in which both have to come to terms begins now, not when this was made."""
        self._begun = self._heard_at = self._now()

    @property
    def peer(self) -> str:
        """What it is called, for people."""
        return f"node {self.node.decode('utf-8', 'backslashreplace')}"

    @property
    def frame_bytes_max(self) -> int:
        """Of what comes: little from a peer that may be anybody."""
        return FRAME_BYTES_MAX if self.phase is Phase.OPEN else EARLY_BYTES_MAX

    # Sending

    def put(self, message: Message) -> None:
        """Send it; of a link that is lost it goes nowhere. It is open."""
        if self.phase is not Phase.LOST:
            assert self.phase is Phase.OPEN
            self._send(message)

    def _send(self, message: Message) -> None:
        self._append(framed(message))

    def _append(self, pieces: tuple[bytes, ...]) -> None:
        self._out += pieces
        self.out_bytes += sum(map(len, pieces))
        self._wake()

    def outgoing(self) -> list[bytes]:
        """What is to be sent, in order; it is the caller's then."""
        was_full = self.full
        out, self._out, self.out_bytes = self._out, [], 0
        if was_full:
            self._told.drained()
        return out

    @property
    def full(self) -> bool:
        """Whether there is so much to be sent that what can wait should."""
        return self.out_bytes >= OUT_BYTES_MAX

    # What comes

    def came(self) -> None:
        """Bytes of the peer: it is there."""
        self._heard_at, self._asked_at = self._now(), None

    def received(self, frame: memoryview) -> None:
        """One without its size. It is the link's from now on: batches stay views of it."""
        if self.failure is not None:
            return
        self.came()
        try:
            self._take(read(frame))
        except BrokenProtocol as error:
            self.lose(BrokenProtocol(f"{self.peer}: {error}"))

    def _take(self, message: Message) -> None:
        if self.phase is Phase.OPEN:
            if isinstance(message, Ping):
                self._owed += 1
                self._pong()
            elif isinstance(message, End):
                self._ended(message)
            elif isinstance(message, Pong):
                self._ponged()
            else:
                self._told.heard(message)
            return
        match self.phase, message:
            case _, End():
                self._ended(message)
            case Phase.HELLO, Hello():
                self._hello(message)
            case Phase.CHALLENGE, Challenge():
                self._challenge(message)
            case Phase.PROOF, Proof():
                self._proof(message)
            case _:
                raise BrokenProtocol(f"it begins with {type(message).__name__}")

    def _pong(self) -> None:
        """An owner that is not sure owes it: the asker would give out what another owns by now."""
        if self.failure is None and self._owed and (not self._vouch or self._vouch(self._pong)):
            owed, self._owed = self._owed, 0
            self._append(_PONG * owed)

    def _ponged(self) -> None:
        if self._pings:
            was_fresh = self.fresh
            self._proved_at = self._pings.popleft()
            if self.fresh and not was_fresh:
                self._told.drained()

    @property
    def fresh(self) -> bool:
        """Whether the owner can't have given this end up by now, and taken back what it gave."""
        return not self._asker or self._clock() < self._proved_at + FRESH_S

    def _hello(self, given: Hello) -> None:
        self.node = given.node[: proof.NODE_BYTES_MAX]
        try:
            self._answered = proof.challenge(given, self._me, self._nonce)
        except BrokenProtocol as error:
            self._send(End(str(error).encode()))
            raise
        self._asked = given
        self.phase = Phase.PROOF
        self._send(self._answered)

    def _challenge(self, given: Challenge) -> None:
        assert self._asked is not None
        proof.check_challenge(self._asked, given)
        self._answered = given
        self.phase = Phase.PROOF
        self._proved_at = self._clock()
        self._send(Proof(self._mac(proof.ASKER)))

    def _mac(self, who: bytes) -> bytes:
        assert self._asked is not None
        assert self._answered is not None
        return proof.mac(self._secret, who, self._asked, self._answered)

    def _proof(self, given: Proof) -> None:
        if not proof.holds(given.mac, self._mac(proof.OWNER if self._asker else proof.ASKER)):
            if not self._asker:
                self._send(End(b"they have different secrets: give all nodes the same one"))
            self.lose(WrongSecret(f"{self.peer} has another secret: give all nodes the same one"))
            return
        if not self._asker:
            self._send(Proof(self._mac(proof.OWNER)))
        self.phase = Phase.OPEN
        self._ping_at = self._now() + PROVE_S
        self._told.opened(self)

    def _ended(self, given: End) -> None:
        why = given.why[:WHY_BYTES_MAX].decode("utf-8", "backslashreplace")
        self.lose(ClusterUnreachable(f"{self.peer} has ended the link: {why}"))

    # Its end

    @property
    def deadline(self) -> float:
        """When ``look`` has something to do."""
        if self._asked_at is not None:
            return self._asked_at + ANSWER_S
        if self.phase is Phase.OPEN:
            silent = self._heard_at + PING_S
            return min(silent, self._ping_at) if self._asker else silent
        return self._begun + BEGIN_S

    def look(self) -> None:
        """The peer is asked whether it is there; or it has not said so for too long."""
        if self.failure is not None or self._now() < self.deadline:
            return
        if self.phase is not Phase.OPEN:
            self.lose(ClusterUnreachable(f"{self.peer} has not come to terms in {BEGIN_S:g} s"))
        elif self._asked_at is not None:
            silent_s = PING_S + ANSWER_S
            self.lose(ClusterUnreachable(f"{self.peer} has sent nothing for {silent_s:g} s"))
        else:
            if self._now() >= self._heard_at + PING_S:
                self._asked_at = self._now()
            self._ping()

    def _ping(self) -> None:
        self._ping_at = self._now() + PROVE_S
        if self._asker:
            self._pings.append(self._clock())
        self._append(_PING)

    def end(self, why: str) -> None:
        """Tell the peer why, and lose the link."""
        if self.failure is None:
            self._send(End(why.encode()[:WHY_BYTES_MAX]))
            self.lose(ClusterUnreachable(f"{self.peer}: {why}"))

    def lose(self, why: LogstoreError) -> None:
        """The connection is gone, or is to be ended, once what is to be sent is."""
        if self.failure is not None:
            return
        self.failure, self.phase = why, Phase.LOST
        self._told.lost(why)
        self._wake()
