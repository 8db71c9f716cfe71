"""Checks passwords against the stored SCRAM keys of users; the usual ``Logins``.

One hash takes milliseconds, so a few worker threads compute hashes, and addresses take turns: many
attempts from one address do not delay other addresses. A correct password is remembered by a digest
under a secret of the process until the user's record changes, so a client that connects again costs
nothing. An unknown name costs as many rounds as a wrong password.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from logstore.access.access import ADMINISTRATOR, Access
from logstore.access.failures import Failures, network
from logstore.access.logins import Found, Login, Work
from logstore.errors import LogstoreError
from logstore.kept.keeping import ReadOn
from logstore.kept.users import SHA_256, SHA_512, KeptUser, PasswordHash, ScramKey
from logstore.names import OWNER_NAME, PASSWORD_BYTES_MAX, USER_BYTES_MAX

RUNNING_MAX: Final = 2  # hashes at a time: there are four workers, and others need them, too
# That wait: whoever tries and leaves, leaves his try. A crowd behind one address fits.
WAITING_MAX: Final = 20_000  # with passwords of a kilobyte at most
WAITING_OF_ONE_MAX: Final = 2000  # address
CROWD_MAX: Final = 1000  # addresses that are looked through for the one with the most
KNOWN_MAX: Final = 10_000  # passwords that were right, by their digests
TICKET_BYTES: Final = 32
CHECKED_BY: Final = (SHA_256, SHA_512)  # the first that a user has: the cheaper one

Rounds = Mapping[str, int]  # of each mechanism's hash
Shape = tuple[int, int]  # of a key: rounds, bytes of salt
Shapes = Mapping[str, Sequence[Shape]]  # of each mechanism's keys, the most usual first
SHAPES_MAX: Final = 16  # that a made-up key may have: one of the most usual


class _Try(NamedTuple):
    """A name and a password that wait to be checked."""

    name: str
    password: bytes
    host: str
    digest: bytes
    then: Callable[[Login], None]
    looked: bool = False  # all is known of users that other nodes have made


def _text(given: bytes) -> str:
    """The text; empty if the bytes are not text."""
    try:
        return given.decode()
    except UnicodeDecodeError:
        return ""


def _is_any(password: bytes) -> bool:
    """Whether a user may have this password, as scram_keys.check_password decides.

    PBKDF2 makes the same key from a password followed by zeros, or from the digest of a long one
    (RFC 2104, 2). Also, many long passwords that wait would fill memory.
    """
    long = len(password) > PASSWORD_BYTES_MAX
    return not long and b"\0" not in password and _text(password) != ""


def _is_off(redis: str) -> bool:
    from logstore.access.redis_grants import is_off  # few have such rules

    return is_off(redis)


class Passwords:
    """The password checks of one process. Used in the sessions' thread."""

    def __init__(
        self,
        access: Access,
        work: Work,
        clock: Callable[[], float],
        secret: bytes,
        delay_s: float,
        read_on: ReadOn | None = None,
    ) -> None:
        """``clock``: seconds that only go forward. ``secret``: the store's secret.

        ``read_on``: calls back once all changes of other nodes are known; None: there are no other
        nodes.

        ``delay_s``: the delay of an address's first refusal.
        """
        self._access = access
        self._work = work
        self._clock = clock
        self._secret = secret
        self._failures = Failures(delay_s)
        self._read_on = read_on
        self._cache_key = b""
        self._ticket = ""  # "": nobody has asked for it
        self._ticket_keys: dict[str, ScramKey] = {}  # by mechanism
        self._right: OrderedDict[bytes, KeptUser] = OrderedDict()  # the last used last
        # By address, as failures are counted; the one whose turn it is first.
        self._waiting: OrderedDict[str, deque[_Try]] = OrderedDict()
        # By address, those of whom it is looked up whether other nodes know them.
        self._looking: Counter[str] = Counter()
        self._waits = 0  # how many both are
        self._running = 0
        self._of_users: tuple[int, Rounds, Shapes] | None = None

    # Passwords

    def check(self, name: bytes, password: bytes, host: str, then: Callable[[Login], None]) -> None:
        """As Logins.check."""
        text = "" if len(name) > USER_BYTES_MAX else _text(name)
        if not text or not _is_any(password):
            then(self._refused(text, host))
            return
        if text == OWNER_NAME:
            then(Login(text) if self._is_ticket(password) else self._refused(text, host))
            return
        one = _Try(text, password, host, self._digest(name, password), then)
        if self._is_right(one):
            then(Login(text))
            return
        if not self._wait(one):
            then(self._refused(text, host))
            return
        self._go_on()

    def _wait(self, one: _Try) -> bool:
        """Queue an attempt; returns whether there was room."""
        place = network(one.host)
        waits = len(self._waiting.get(place, ())) + self._looking[place]
        if waits >= WAITING_OF_ONE_MAX:
            return False
        if self._waits >= WAITING_MAX and not self._make_room(waits):
            return False
        self._waiting.setdefault(place, deque()).append(one)
        self._waits += 1
        return True

    def _make_room(self, waits: int) -> bool:
        """Refuse the latest attempt of the address with the most, for one with fewer.

        So many attempts from a few addresses do not keep others out; among very many addresses,
        none can be told apart.
        """
        if not self._waiting or len(self._waiting) > CROWD_MAX:
            return False
        tries = max(self._waiting.values(), key=len)
        if len(tries) <= waits + 1:
            return False
        last = tries.pop()
        self._waits -= 1
        last.then(self._refused(last.name, last.host))
        return True

    def _next(self) -> _Try:
        """The next attempt to check."""
        place, tries = self._waiting.popitem(last=False)
        one = tries.popleft()
        if tries:
            self._waiting[place] = tries  # behind all others
        self._waits -= 1
        return one

    def _go_on(self) -> None:
        while self._waiting and self._running < RUNNING_MAX:
            one = self._next()
            if self._is_right(one):  # by now: many connect at once with the same one
                one.then(Login(one.name))
                continue
            self._running += 1
            user = self._access.users.get(one.name)
            job = partial(_is_right, _kept_of(user), one.password, self._toll())
            self._work(job, partial(self._checked, one, user))

    def _checked(self, one: _Try, user: KeptUser | None, right: object) -> None:
        self._running -= 1
        if self._access.users.get(one.name) is not user:  # it changed meanwhile: anew
            if not self._wait(one):
                one.then(self._refused(one.name, one.host))
        elif right is True and user is not None and self.admits(one.name):
            self._remember(one.digest, user)
            one.then(Login(one.name))
        elif self._read_on is not None and not one.looked:  # whether there is such a user, or not
            self._looking[network(one.host)] += 1
            self._waits += 1
            self._read_on(partial(self._looked, one._replace(looked=True), user))
        else:
            one.then(self._refused(one.name, one.host))
        self._go_on()

    def _looked(self, one: _Try, user: KeptUser | None, error: LogstoreError | None) -> None:
        """Other nodes' changes are known: the password may be right after all."""
        place = network(one.host)
        self._looking[place] -= 1
        if not self._looking[place]:
            del self._looking[place]
        self._waits -= 1
        same = self._access.users.get(one.name) is user
        if error is not None or same or not self._wait(one):
            one.then(self._refused(one.name, one.host))
        self._go_on()

    def _refused(self, name: str, host: str) -> Login:
        return Login(None, self.failed(host))

    # What was right before

    def _digest(self, name: bytes, password: bytes) -> bytes:
        from hmac import digest
        from secrets import token_bytes

        self._cache_key = self._cache_key or token_bytes(32)
        return digest(self._cache_key, b"%d:%b%b" % (len(name), name, password), "sha256")

    def _is_right(self, one: _Try) -> bool:
        user = self._right.get(one.digest)
        if user is None:
            return False
        if self._access.users.get(one.name) is not user or not self.admits(one.name):
            del self._right[one.digest]
            return False
        self._right.move_to_end(one.digest)
        return True

    def _remember(self, digest: bytes, user: KeptUser) -> None:
        self._right[digest] = user
        if len(self._right) > KNOWN_MAX:
            self._right.popitem(last=False)

    # Other ways to log in

    def find(self, mechanism: str, name: str) -> Found:
        """As Logins.find. An unknown name's key looks like that of some user."""
        user = self._access.users.get(name)
        key = None if user is None else user.scram.get(mechanism)
        if key is not None:
            return Found(key, known=self.admits(name))
        from logstore.access.scram_keys import made_up

        shape = self._shape_of(name, self._figures()[1][mechanism])
        unknown = made_up(mechanism, self._secret, name, *shape)
        if name == OWNER_NAME and self._ticket:
            return Found(self._ticket_key(mechanism, unknown), known=True)
        return Found(unknown, known=False)

    def _shape_of(self, name: str, shapes: Sequence[Shape]) -> Shape:
        """One of the users' kinds of keys, the same each time, even if there are others.

        If it were always the most frequent kind, any other kind would reveal that the user exists.
        """
        from hmac import digest

        if len(shapes) == 1:
            return shapes[0]
        said = name.encode()
        return max(shapes, key=lambda it: digest(self._secret, b"%d,%d,%b" % (*it, said), "sha256"))

    def admits(self, name: str) -> bool:
        """As Logins.admits: only administrators, while there is a damaged row that might forbid it.

        Users that are ``off`` in Redis's terms are refused.
        """
        user = self._access.users.get(name)
        if user is None or (user.redis is not None and _is_off(user.redis)):
            return False
        return ADMINISTRATOR in user.tags or not any(it.forbids for it in self._access.damaged)

    def ticket(self) -> str:
        """As Logins.ticket."""
        from secrets import token_urlsafe

        self._ticket = self._ticket or token_urlsafe(TICKET_BYTES)
        return self._ticket

    def _ticket_key(self, mechanism: str, like: ScramKey) -> ScramKey:
        """Made once, in the form of some user's key, because it takes milliseconds."""
        from logstore.access.scram_keys import key_of, salted

        key = self._ticket_keys.get(mechanism)
        if key is None or (key.salt, key.iterations) != (like.salt, like.iterations):
            password = salted(mechanism, self._ticket.encode(), like.salt, like.iterations)
            key = key_of(mechanism, password, like.salt, like.iterations)
            self._ticket_keys[mechanism] = key
        return key

    def _is_ticket(self, password: bytes) -> bool:
        from hmac import compare_digest

        return bool(self._ticket) and compare_digest(password, self._ticket.encode())

    def failed(self, host: str) -> float:
        """As Logins.failed."""
        return self._failures.add(host, self._clock())

    # Rounds

    def _toll(self) -> Rounds:
        """The cost of each refusal, by mechanism: that of the most expensive user."""
        return self._figures()[0]

    def _figures(self) -> tuple[Rounds, Shapes]:
        """The most rounds of any user, and the most frequent keys of each mechanism."""
        if self._of_users is None or self._of_users[0] != self._access.version:
            users = self._access.users.values()
            self._of_users = self._access.version, _most(users), _shapes(users)
        return self._of_users[1:]


_Kept = tuple[str, ScramKey] | PasswordHash | None


def _kept_of(user: KeptUser | None) -> _Kept:
    """The stored data that a user's password is checked against."""
    return _key_of(user) or (None if user is None else user.rabbit)


def _key_of(user: KeptUser | None) -> tuple[str, ScramKey] | None:
    """The same, if it is a SCRAM key."""
    if user is not None:
        for mechanism in CHECKED_BY:
            if mechanism in user.scram:
                return mechanism, user.scram[mechanism]
    return None


def _is_right(kept: _Kept, password: bytes, toll: Rounds) -> bool:
    """In a worker. Every refusal costs the same rounds of each hash, whichever the user."""
    from logstore.access.scram_keys import is_key_of, salted

    left = dict(toll)
    if isinstance(kept, PasswordHash):
        from logstore.access.rabbit_hashes import is_of

        if is_of(kept, password):
            return True
    elif kept is not None:
        mechanism, key = kept
        if is_key_of(mechanism, key, password):
            return True
        left[mechanism] = left.get(mechanism, 0) - key.iterations
    for mechanism, rounds in left.items():
        if rounds > 0:
            salted(mechanism, password, b"", rounds)
    return False


def _most(users: Iterable[KeptUser]) -> Rounds:
    from logstore.access.scram_keys import ITERATIONS

    most: dict[str, int] = {}
    for user in users:
        kept = _key_of(user)
        if kept is not None:
            most[kept[0]] = max(most.get(kept[0], 0), kept[1].iterations)
    return most or {CHECKED_BY[0]: ITERATIONS}


def _shapes(users: Iterable[KeptUser]) -> Shapes:
    from logstore.access.scram_keys import ITERATIONS, SALT_BYTES

    counts = {mechanism: Counter[Shape]() for mechanism in CHECKED_BY}
    for user in users:
        for mechanism, key in user.scram.items():
            counts[mechanism][key.iterations, len(key.salt)] += 1
    return {
        mechanism: sorted(found, key=lambda it: (-found[it], it))[:SHAPES_MAX]
        or [(ITERATIONS, SALT_BYTES)]
        for mechanism, found in counts.items()
    }
