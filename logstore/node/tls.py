"""The certificate of a node: loaded before its doors open, and again when it changes.

The library for it is imported only if there is a certificate.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from time import time
from typing import TYPE_CHECKING, Final

from logstore.errors import Failed, LogstoreError
from logstore.protocols.house import Work
from logstore.settings import StoreSettings

if TYPE_CHECKING:
    from logstore.certificates import Certificates, Loaded, Unasking

LOOK_S: Final = 10.0  # whether the files have changed
DAY_S: Final = 86_400.0  # doubts are reported again after this time

log: Final = logging.getLogger("logstore.tls")


class NodeTls:
    """Raises InvalidSetting, Failed if a certificate is configured and is not valid."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: StoreSettings,
        directory: str,
        told: Sequence[str] = (),
    ) -> None:
        """``told``: the host names that Kafka clients are told, as far as known."""
        self._loop = loop
        self._told = told
        self.tls: Certificates | None = None
        if any((settings.tls_cert, settings.tls_key, settings.tls_client_ca)):
            from logstore import certificates

            self.tls = certificates.Certificates.of(settings, directory)
        self._work: Work | None = None  # until the doors are open
        self._timer: asyncio.TimerHandle | None = None
        self._loading = False
        self._again = False  # requested while it was being loaded
        self._asked: list[Callable[[], None]] = []  # calls to make at the end of the load
        self._told_at = 0.0

    def start(self, work: Work) -> None:
        """Begin to check the certificate regularly."""
        self._work = work
        if self.tls is not None:
            self._doubt()
            self._timer = self._loop.call_later(LOOK_S, self._look)

    def for_links(self) -> "Unasking | None":
        """The certificates for links, on which nodes identify themselves by a secret; None without
        TLS.
        """
        return None if self.tls is None else self.tls.unasking()

    def expires_s(self) -> int | None:
        """When the certificate expires, in seconds since 1970; None without TLS."""
        return None if self.tls is None else self.tls.loaded.expires_s

    def close(self) -> None:
        """Stop checking the certificate."""
        self._work = None
        if self._timer is not None:
            self._timer.cancel()

    def asked(self, then: Callable[[], None] = lambda: None) -> None:
        """Load the certificate now, after a SIGHUP. ``then`` is called at the end."""
        if self.tls is None:
            log.warning("SIGHUP: nothing to load anew: there is no TLS (tls.cert)")
        if self.tls is None or self._work is None:
            then()
            return
        self._asked.append(then)
        if self._loading:
            self._again = True
        else:
            self._load(asked=True)

    def _look(self) -> None:
        self._timer = self._loop.call_later(LOOK_S, self._look)
        if not self._loading:
            self._load(asked=False)
        if time() > self._told_at + DAY_S:
            self._doubt()

    def _load(self, *, asked: bool) -> None:
        tls, work = self.tls, self._work
        if tls is None or work is None:
            return
        self._loading = True
        work(lambda: _or_error(lambda: tls.load_changed(asked=asked)), self._loaded(asked=asked))

    def _loaded(self, *, asked: bool) -> "Callable[[Loaded | LogstoreError | None], None]":
        def done(found: "Loaded | LogstoreError | None") -> None:
            self._loading = False
            assert self.tls is not None
            if isinstance(found, LogstoreError):
                log.warning("%s; the certificate stays that was loaded before", found)
            elif found is not None:
                self.tls.use(found)
                log.warning(
                    "%s: loaded anew: valid until %s", self.tls.files.cert, found.shown["notAfter"]
                )
                self._doubt()
            elif asked:
                log.warning("%s: not changed since it was loaded", self.tls.files.cert)
            if self._again:
                self._again = False
                self._load(asked=True)
                return
            told, self._asked = self._asked, []
            for then in told:
                then()

        return done

    def _doubt(self) -> None:
        """Warn of problems with the certificate that clients are likely to meet."""
        from logstore.certificates import doubts

        assert self.tls is not None
        self._told_at = time()
        for line in doubts(self.tls.loaded, self._told, self._told_at):
            log.warning("%s: the certificate %s", self.tls.files.cert, line)


def _or_error(job: "Callable[[], Loaded | None]") -> "Loaded | LogstoreError | None":
    try:
        return job()
    except LogstoreError as error:
        return error
    except Exception as error:  # a bug there must not keep it from being looked after
        log.exception("a bug while a certificate was loaded")
        return Failed(f"internal error: {error!r}")
