"""The issuer of tokens: the source of its public keys, and when they are read again.

A file is read when it has changed, an address from time to time, and both when a token names an
unknown key, at most every few seconds. Valid keys stay until new ones are read: an invalid reply
removes none. Workers do everything that waits, one read at a time; tokens that arrive meanwhile
wait for it.
"""

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from stat import S_ISREG
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from logstore.access.logins import Work
from logstore.access.tokens import BadToken, Bearer, UnknownKey
from logstore.errors import Failed, InvalidSetting, LogstoreError, Refused
from logstore.settings import StoreSettings

if TYPE_CHECKING:
    from logstore.access.jwt import Key, Wanted

SETTING: Final = "sasl.oauthbearer.jwks.endpoint.url"
KEYS_BYTES_MAX: Final = 1 << 20  # of a set: a key has 1 KiB, with its certificates 5
FETCH_S: Final = 10.0  # that a fetch may take in all
ANSWER_S: Final = 5.0  # that the other end may be silent
AGAIN_S: Final = 10.0  # between two looks for a key that is not known: a stranger names any
LOCAL: Final = ("localhost", "127.0.0.1", "::1")
NO_KEYS: Final = BadToken("the keys of its issuer are not known")

log = logging.getLogger("logstore.access")

Then = Callable[[Bearer | BadToken], None]


class Issuer:
    """A ``Tokens`` that checks signatures."""

    def __init__(
        self,
        settings: StoreSettings,
        work: Work,
        clock: Callable[[], float],
        stopwatch: Callable[[], float],
    ) -> None:
        """``clock``: seconds since 1970; ``stopwatch``: that only go forward."""
        self._url = settings.sasl_oauthbearer_jwks_endpoint_url
        self._settings = settings
        self._refresh_s = settings.sasl_oauthbearer_jwks_endpoint_refresh_ms / 1000
        self._work = work
        self._clock = clock
        self._stopwatch = stopwatch
        self._keys: Sequence[Key] = ()
        self._stamp: object = None  # of the file, as it was read
        self._tried_at: float | None = None
        self._reading = False
        self._waiting: list[Callable[[], None]] = []  # for what is read now
        self._told = ""  # what was wrong the last time

    def check(self, token: str, then: Then) -> None:
        """As Tokens.check."""
        if self._is_old():
            self._when_read(partial(self._verify, token, then, last=True))
        else:
            self._verify(token, then, last=False)

    def _is_old(self) -> bool:
        since = self._since()
        if since is None or (not self._keys and since >= AGAIN_S):
            return True
        if self._reading and not self._keys:
            return True
        return since >= self._refresh_s or (_is_file(self._url) and since >= 1)

    def _since(self) -> float | None:
        """Seconds since the keys were looked for."""
        return None if self._tried_at is None else self._stopwatch() - self._tried_at

    def _verify(self, token: str, then: Then, *, last: bool) -> None:
        """``last``: the keys are as new as they may be."""
        if not self._keys:
            then(NO_KEYS)
            return
        job = partial(_verified, token, self._keys, self._settings, self._clock())
        self._work(job, partial(self._verified, token, then, last))

    def _verified(self, token: str, then: Then, last: bool, outcome: object) -> None:
        since, unknown = self._since(), isinstance(outcome, UnknownKey)
        if unknown and not last and (self._reading or since is None or since >= AGAIN_S):
            self._when_read(partial(self._verify, token, then, last=True))
        elif isinstance(outcome, Bearer | BadToken):
            then(outcome)
        else:
            then(BadToken("it could not be checked"))

    # Keys

    def _when_read(self, then: Callable[[], None]) -> None:
        self._waiting.append(then)
        if not self._reading:
            self._reading = True
            self._tried_at = self._stopwatch()
            self._work(partial(_read, self._url, self._stamp), self._read)

    def _read(self, outcome: object) -> None:
        self._reading = False
        if isinstance(outcome, LogstoreError):
            self._tell(str(outcome))
        else:
            assert isinstance(outcome, tuple)
            keys, self._stamp = outcome
            self._keys = keys or self._keys
            self._told = ""
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()

    def _tell(self, why: str) -> None:
        """Once for each reason: strangers can have it looked for again and again."""
        if why != self._told:
            kept = "; those that were known stay good" if self._keys else ""
            log.warning("%s: no keys of the issuer of tokens: %s%s", SETTING, why, kept)
        self._told = why


def check_settings(settings: StoreSettings) -> None:
    """Raises InvalidSetting, and Refused where what it takes is not installed."""
    url = settings.sasl_oauthbearer_jwks_endpoint_url
    parts = _split(url)
    if "@" in parts.netloc:  # settings and log lines are shown to people
        raise InvalidSetting(f"{SETTING} has a name or a password in it: keys are public")
    local = parts.scheme == "http" and parts.hostname in LOCAL
    if not (_is_file(url) or (parts.scheme == "https" and parts.hostname) or local):
        raise InvalidSetting(
            f"{SETTING} is {url!r}: must be file:///PATH or https://HOST/PATH, so that the keys"
            " can't be replaced on the way"
        )
    if find_spec("joserfc") is None:
        raise Refused(f"{SETTING} needs the package joserfc: pip install 'logstore[oauth]'")


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:  # a bracket too few
        return urlsplit("")


def _is_file(url: str) -> bool:
    return url.startswith("file:///")


# In a worker


def _verified(
    token: str, keys: "Sequence[Key]", settings: StoreSettings, now_s: float
) -> Bearer | BadToken:
    from logstore.access.jwt import verify

    return verify(token, keys, _wanted(settings), now_s)


def _wanted(settings: StoreSettings) -> "Wanted":
    from logstore.access.jwt import Wanted

    return Wanted(
        settings.sasl_oauthbearer_sub_claim_name,
        settings.sasl_oauthbearer_expected_issuer,
        settings.sasl_oauthbearer_expected_audience,
        settings.sasl_oauthbearer_clock_skew_seconds,
    )


def _read(url: str, stamp: object) -> "tuple[Sequence[Key], object] | LogstoreError":
    """The keys, and what tells whether they are others later; no keys: as they were."""
    from logstore.access.jwt import keys_of

    try:
        if not _is_file(url):
            return keys_of(_fetched(url)), None
        path = unquote(urlsplit(url).path)
        facts = os.stat(path)
        if not S_ISREG(facts.st_mode):  # a pipe would have a worker wait
            raise Refused("it is not a file")
        now = facts.st_ino, facts.st_size, facts.st_mtime_ns
        if now == stamp:
            return (), stamp
        with open(path, "rb") as file:
            return keys_of(_bounded(file.read(KEYS_BYTES_MAX + 1))), now
    except OSError as error:
        return Failed(f"{url}: {error.strerror or error}")
    except LogstoreError as error:
        return Refused(f"{url}: {error}")


def _bounded(text: bytes) -> bytes:
    if len(text) > KEYS_BYTES_MAX:
        raise Refused(f"it has more than {KEYS_BYTES_MAX} bytes")
    return text


def _fetched(url: str) -> bytes:
    """Raises OSError, Refused. A certificate that is not good is an OSError."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import build_opener

    until = monotonic() + FETCH_S
    try:
        with build_opener(_stays()).open(url, timeout=ANSWER_S) as answer:
            if answer.status != 200:
                raise Refused(f"the answer is {answer.status}")
            text = b""
            while chunk := answer.read1(64 << 10):
                text = _bounded(text + chunk)
                if monotonic() > until:
                    raise Refused(f"no reply within {FETCH_S:.0f} s")
            return text
    except HTTPError as error:
        error.close()  # it has the answer, which nobody wants
        raise
    except HTTPException as error:
        raise Refused(f"the answer is not HTTP: {type(error).__name__}") from None


def _stays() -> Any:  # noqa: ANN401
    """What follows no other address: it could be one that is not protected."""
    from urllib.request import HTTPRedirectHandler

    class Stays(HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    return Stays()
