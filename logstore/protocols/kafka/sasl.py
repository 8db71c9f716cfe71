"""The login of a Kafka connection: SaslHandshake, then tokens in requests or as raw frames.

The states are those of Kafka's broker. Before the login, a connection may request the versions
once, and choose a mechanism; any other request ends the connection. If logins expire (KIP-368), a
client may log in again on the same connection, as the same user by the same mechanism; after the
expiry, any request except the start of a new login ends the connection.
"""

from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Final

from logstore.access.audit import LOGIN, REFUSED
from logstore.access.identity import OAUTHBEARER, Identity
from logstore.access.plain import PlainServer
from logstore.access.sasl import PLAIN, Conversation, Done, Refusal, Step
from logstore.access.scram import ScramServer
from logstore.errors import BrokenProtocol
from logstore.kafka.messages import sasl_authenticate as authenticate_messages
from logstore.kafka.messages import sasl_handshake as handshake_messages
from logstore.kafka.schema import codec
from logstore.kept.users import SHA_256, SHA_512
from logstore.printable import printable
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.apis import API_VERSIONS, SASL_AUTHENTICATE, SASL_HANDSHAKE, Api
from logstore.protocols.kafka.client import DOOR, KafkaClient
from logstore.protocols.kafka.refusals import LOGGED_IN
from logstore.protocols.kafka.slots import Ready, Slot
from logstore.protocols.session import Buffer
from logstore.subject import SETTING, Certificate

LOGIN_S: Final = 10.0  # for a peer to log in
TOLD_S: Final = 2.0  # for a peer to read an answer that took the server long
# Bytes of a request before the login: unknown peers may be many, and an incomplete request is kept.
# A name, a password and a client id fit; an issuer's token may be longer.
EARLY_BYTES_MAX: Final = 16 << 10
HELD_BYTES: Final = 1024  # for a token, while it is looked into, beside its own
BY_CERTIFICATE: Final = "SSL"  # as an identity's mechanism; Kafka's word for such a listener
SHOWN_CHARACTERS: Final = 64  # of a name that a stranger has chosen
# A hint for an operator whose clients now have to log in.
NO_LOGIN: Final = "; the client has not logged in: its security.protocol must be SASL_..."


class State(Enum):
    INITIAL = auto()  # versions or a handshake are due
    HANDSHAKE = auto()  # a handshake is due
    TOKENS = auto()
    DONE = auto()


Answer = Callable[[int, str | None, bytes, int], Buffer | None]  # code, text, token, lifetime in ms


class Verdict:
    """The slot of a token: checking it may take a worker, and a refusal is delayed."""

    __slots__ = ("_body", "_client", "_ends", "deadline", "delay_s", "given", "held_bytes")

    def __init__(self, client: KafkaClient, token_bytes: int) -> None:
        self.deadline: float | None = None
        self.held_bytes = HELD_BYTES + token_bytes
        self._client = client
        self.given = False
        self.delay_s = 0.0
        self._body: Buffer | None = None
        self._ends: str | None = None

    def give(self, body: Buffer | None, ends: str | None = None, delay_s: float = 0.0) -> None:
        """Set the answer. ``ends``: the reason why the connection closes after it."""
        self.given, self._body, self._ends, self.delay_s = True, body, ends, delay_s
        self._client.wake()

    def ready(self, now: float) -> bool:
        if not self.given:
            return False
        if self.delay_s:
            self.deadline, self.delay_s = now + self.delay_s, 0.0
        return self.deadline is None or now >= self.deadline

    def body(self) -> Sequence[Buffer] | None:
        if self._ends is not None:
            self._client.end(self._ends)
        return None if self._body is None else (self._body,)

    def finish(self) -> None:
        self.delay_s, self.deadline = 0.0, None


class Sasl:
    """The login of one connection."""

    def __init__(self, client: KafkaClient, certificate: Certificate | None = None) -> None:
        """``certificate``: the client's. The user that it stands for may log in, but need not."""
        self._certificate = certificate
        # Whether only the certificate identifies the client.
        self._certified = certificate is not None and _become(client, certificate)
        self.raw = False  # the next input is a token without a header
        self.until: float | None = None  # when it is disconnected; None: no request yet
        self._verdict: Verdict | None = None  # of the token that is looked into
        self._client = client
        self._state = State.INITIAL
        self._mechanism = ""
        self._conversation: Conversation | None = None
        self._refused = ""  # what the next token is answered with, whatever it is
        self._until: float | None = None  # how long the login is good, by the sessions' clock
        self._again = False  # it has logged in before

    @property
    def done(self) -> bool:
        """Whether the client's identity is known."""
        return self._again or self._certified

    @property
    def bytes_max(self) -> int:
        """The maximum size of a request before the client has logged in."""
        most = self._client.door.settings.sasl_server_max_receive_size
        token = self._state is State.TOKENS and self._mechanism == OAUTHBEARER
        return most if token else min(most, EARLY_BYTES_MAX)

    @property
    def over(self) -> bool:
        """Whether the client is logged in permanently, so that this object is no longer needed."""
        return self._state is State.DONE and self._until is None

    @property
    def deadline(self) -> float | None:
        """When a peer that has not logged in is disconnected; 0.0 before its first request."""
        if self.done or self._state is State.DONE or self._verdict is not None:
            return None
        return 0.0 if self.until is None else self.until

    def look(self, now: float) -> None:
        """Disconnect the client if its time is over, even if it does not read its answer.

        ``now``: of the sessions' clock. The time that the server spends on a token does not count.
        """
        if self._again:
            return
        if self.until is None:
            self.until = now + LOGIN_S
        if self._verdict is not None and self._verdict.given:
            self.until = max(self.until, now + self._verdict.delay_s + TOLD_S)
            self._verdict = None
        deadline = self.deadline
        if deadline is not None and now >= deadline:
            self._client.cut(f"no login within {LOGIN_S:.0f} s")

    # Requests

    def passes(self, key: int) -> bool:
        """Whether a request of this kind needs no check here, because its sender has logged in."""
        return (
            self._again
            and key not in (SASL_HANDSHAKE, SASL_AUTHENTICATE)
            and (self._until is None or self._client.now <= self._until)
        )

    def check(self, key: int) -> None:
        """Raise BrokenProtocol if a request of this kind ends the connection."""
        if self._until is not None and self._client.now > self._until:
            due = SASL_HANDSHAKE if self._state is State.DONE else SASL_AUTHENTICATE
            if key != due:
                user = self._client.rights.who.user
                raise BrokenProtocol(f"the time is over for which user {user!r} has logged in")
        elif self.done:
            pass
        elif self._state is State.INITIAL and key not in (API_VERSIONS, SASL_HANDSHAKE):
            raise BrokenProtocol(f"api key {key} before a login{self._unknown() or NO_LOGIN}")
        elif self._state is State.HANDSHAKE and key != SASL_HANDSHAKE:
            why = self._unknown() or NO_LOGIN
            raise BrokenProtocol(f"api key {key} where SaslHandshake is due{why}")

    def _unknown(self) -> str:
        """The reason why the client's certificate, if any, does not identify it."""
        it = self._certificate
        if it is None:
            return ""
        shown = printable(it.subject[:SHOWN_CHARACTERS])
        if it.user is None:
            return f"; no rule of {SETTING} fits its certificate, {shown}"
        user = printable(it.user[:SHOWN_CHARACTERS])
        return f"; its certificate, {shown}, stands for user {user!r}, who does not exist"

    def told_versions(self) -> None:
        """Note that the client has received the API versions."""
        if self._state is State.INITIAL:
            self._state = State.HANDSHAKE

    def take(self, api: Api, version: int, frame: memoryview, at: int) -> Slot | None:
        """The answer to a request of this kind in this state; None if the request is to be carried
        out.
        """
        if api.key == SASL_HANDSHAKE:
            return self._handshake(version, frame, at)
        if api.key == SASL_AUTHENTICATE:
            return self._authenticate(version, frame, at)
        if self._state is State.TOKENS and not self._again:
            return self._out_of_place(api, version)
        if self._certified and api.key != API_VERSIONS and self._state is not State.TOKENS:
            self._state = State.DONE  # it needs no login
        return None

    def _out_of_place(self, api: Api, version: int) -> Slot:
        """An error answer of the request's own type, if that has an error field, and the end."""
        response = api.handler().response() if api.handlers is not None else None
        body = None
        if response is not None and hasattr(response, "error_code"):
            response.error_code = errors.ILLEGAL_SASL_STATE
            body = _bytes(type(response), response, version, flexible=version >= api.flexible)
        return self._last(body, f"{api.name} where SaslAuthenticate is due")

    def _last(self, body: Buffer | None, ends: str) -> Slot:
        """Send an answer and close the connection."""
        verdict = Verdict(self._client, 0)
        self._client.hold(verdict)
        verdict.give(body, ends)
        return verdict

    def _handshake(self, version: int, frame: memoryview, at: int) -> Slot:
        request, _ = codec(handshake_messages.Request, version, False).read(frame, at)
        enabled = mechanisms(self._client)
        if self._state is State.TOKENS or (self._state is State.DONE and self._until is None):
            return self._told_illegal(version, enabled)
        mechanism = request.mechanism
        if mechanism not in enabled:
            body = _chosen(errors.UNSUPPORTED_SASL_MECHANISM, enabled, version)
            shown = mechanism[:SHOWN_CHARACTERS]
            return self._last(body, f"SASL mechanism {shown!r} is not enabled here")
        self._refused = ""
        if self._again and mechanism != self._mechanism:
            self._refused = (
                f"SASL mechanism '{mechanism}' requested by client is not supported for "
                f"re-authentication of mechanism '{self._mechanism}'"
            )
        else:
            self._mechanism = mechanism
        self._conversation = conversation(self._mechanism, self._client)
        self._state = State.TOKENS
        self.raw = version == 0
        return Ready(_chosen(errors.NONE, enabled, version))

    def _told_illegal(self, version: int, enabled: Sequence[str]) -> Slot:
        body = _chosen(errors.ILLEGAL_SASL_STATE, enabled, version)
        if self._state is State.DONE:
            return Ready(body)
        return self._last(body, "SaslHandshake where SaslAuthenticate is due")

    def _authenticate(self, version: int, frame: memoryview, at: int) -> Slot:
        flexible = version >= AUTHENTICATE_FLEXIBLE
        request, _ = codec(authenticate_messages.Request, version, flexible).read(frame, at)

        def answer(code: int, text: str | None, token: bytes, lifetime_ms: int) -> Buffer:
            response = authenticate_messages.Response(code, text, token, lifetime_ms)
            return _bytes(authenticate_messages.Response, response, version, flexible=flexible)

        if self._state is not State.TOKENS:
            return Ready(answer(errors.ILLEGAL_SASL_STATE, LOGGED_IN, b"", 0))
        return self._token(request.auth_bytes, answer)

    def take_raw(self, token: bytes) -> Slot:
        """Process a token without a header; the answer has no header either, and a refusal has no
        answer.
        """

        def answer(code: int, text: str | None, token: bytes, lifetime_ms: int) -> Buffer | None:
            return None if code else token

        return self._token(token, answer)

    # Tokens

    def _token(self, token: bytes, answer: Answer) -> Slot:
        verdict = self._verdict = Verdict(self._client, len(token))
        self._client.hold(verdict)
        if self._refused:
            self._fail(Refusal(self._refused), verdict, answer)
            return verdict
        assert self._conversation is not None
        self._conversation.take(bytes(token), lambda step: self._step(step, verdict, answer))
        return verdict

    def _step(self, step: Step, verdict: Verdict, answer: Answer) -> None:
        if isinstance(step, Refusal):
            self._fail(step, verdict, answer)
        elif isinstance(step, Done):
            self._succeed(step, verdict, answer)
        else:
            verdict.give(answer(errors.NONE, None, step, 0))

    def _fail(self, refusal: Refusal, verdict: Verdict, answer: Answer) -> None:
        client = self._client
        when = "re-authentication" if self._again else "authentication"
        text = refusal.text or (
            f"Authentication failed during {when} due to invalid credentials with SASL mechanism "
            f"{self._mechanism}"
        )
        delay_s = refusal.delay_s
        if delay_s is None:
            delay_s = client.door.logins.failed(client.peer[0])
        tried = Identity(refusal.user, client.peer[0], self._mechanism, DOOR)
        client.door.audit.tell(LOGIN, tried, outcome=REFUSED)
        why = f": {refusal.why}" if refusal.why else ""
        whom = f" of user {refusal.user[:SHOWN_CHARACTERS]!r}" if refusal.user else ""
        verdict.give(
            answer(errors.SASL_AUTHENTICATION_FAILED, text, b"", 0),
            f"login{whom} by {self._mechanism} refused{why}",
            delay_s,
        )

    def _succeed(self, done: Done, verdict: Verdict, answer: Answer) -> None:
        client = self._client
        before = client.rights.who.user
        if self._again and done.user != before:
            text = f"Cannot change principals during re-authentication from User.{before}: "
            self._fail(Refusal(f"{text}User.{done.user}", done.user), verdict, answer)
            return
        # A disabled user is refused earlier with a password or a certificate, but not with a token.
        if done.user in client.door.access.users and not client.door.logins.admits(done.user):
            why = "the user may not log in here"
            self._fail(Refusal(user=done.user, why=why), verdict, answer)
            return
        lifetime_ms = self._lifetime_ms(done)
        if lifetime_ms is not None and lifetime_ms <= 0:
            self._fail(Refusal(user=done.user), verdict, answer)
            return
        most = client.seat.take(done.user)
        if most is not None:
            text = f"Authentication failed: user connection limit ({most}) is reached"
            self._fail(Refusal(text, done.user, 0.0), verdict, answer)
            return
        self._until = None if lifetime_ms is None else client.now + lifetime_ms / 1000
        self._state, self._conversation, self.raw = State.DONE, None, False
        client.become(Identity(done.user, client.peer[0], self._mechanism, DOOR))
        client.did(LOGIN, "")
        verdict.give(answer(errors.NONE, None, done.token, lifetime_ms or 0))
        self._again = True

    def _lifetime_ms(self, done: Done) -> int | None:
        """The duration for which the login is valid; None without a limit."""
        door = self._client.door
        limits = []
        if door.settings.connections_max_reauth_ms:
            limits.append(door.settings.connections_max_reauth_ms)
        if done.expires_s is not None:
            limits.append(int(done.expires_s * 1000) - door.clock())
        return min(limits, default=None)


def _become(client: KafkaClient, certificate: Certificate) -> bool:
    """Become the user that the certificate stands for, if there is one."""
    user = certificate.user
    if user is None or not client.door.logins.admits(user):
        return False
    most = client.seat.take(user)
    if most is not None:
        client.end(f"user {user!r}: user connection limit ({most}) is reached")
        return False
    client.become(Identity(user, client.peer[0], BY_CERTIFICATE, DOOR))
    client.did(LOGIN, "")
    return True


AUTHENTICATE_FLEXIBLE: Final = 2  # from this version of SaslAuthenticate on


def mechanisms(client: KafkaClient) -> Sequence[str]:
    """The enabled mechanisms."""
    enabled = client.door.settings.sasl_enabled_mechanisms
    return [it for it in enabled if it != OAUTHBEARER or client.door.tokens is not None]


def conversation(mechanism: str, client: KafkaClient) -> Conversation:
    """The server's side of a login by this mechanism."""
    logins = client.door.logins
    if mechanism == PLAIN:
        return PlainServer(logins, client.peer[0])
    if mechanism == OAUTHBEARER:
        from logstore.access.bearer import BearerServer  # few have an issuer

        assert client.door.tokens is not None
        return BearerServer(client.door.tokens)
    assert mechanism in (SHA_256, SHA_512)
    return ScramServer(mechanism, lambda name: logins.find(mechanism, name))


def _chosen(code: int, enabled: Sequence[str], version: int) -> bytearray:
    """The answer to a SaslHandshake."""
    response = handshake_messages.Response(code, enabled)
    return _bytes(handshake_messages.Response, response, version)


def _bytes(kind: type, response: object, version: int, *, flexible: bool = False) -> bytearray:
    out = bytearray()
    codec(kind, version, flexible).write(out, response)
    return out
