"""Certificate and key of the doors with TLS: loaded, checked, and loaded again when they change.

A context is never changed: a new one replaces it, and connections keep theirs. A file that is only
half written, or does not fit the others, therefore does no harm: the old files stay in use until
all new ones are valid. Knows no event loop; any thread may load.
"""

import logging
import os
import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from stat import S_ISREG
from typing import Any, Final

from logstore.errors import Failed, InvalidSetting
from logstore.settings import StoreSettings
from logstore.subject import Certificate, Rules, certificate, parse_rules

# Forward secrecy, and one of the ciphers that also encrypt what they check (AEAD); those of TLS 1.3
# are so anyway. OpenSSL's own list has CBC in it.
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
SOON_S: Final = 14 * 86_400  # a certificate that expires within this is told of
FILE_BYTES_MAX: Final = 16 << 20  # all authorities of the world have 300 KB
TRIES: Final = 3  # of reading files that change meanwhile
PARTIAL_CHAIN: Final = ssl.VERIFY_X509_PARTIAL_CHAIN

log: Final = logging.getLogger("logstore.certificates")

# What OpenSSL says of keys and certificates, in words, and in which file it is.
_TOO_WEAK: Final = {
    "EE_KEY_TOO_SMALL": "its key is too short: RSA has at least 2048 bits, and EC 224",
    "CA_KEY_TOO_SMALL": "the key of an authority in it is too short",
    "CA_MD_TOO_WEAK": "it is signed with a digest that is broken",
}


@dataclass(frozen=True, slots=True)
class Files:
    """The paths; ``key`` is the certificate's file if that contains both."""

    cert: Path
    key: Path
    client_ca: Path | None
    required: bool  # a client without a certificate is refused

    @property
    def paths(self) -> Sequence[Path]:
        return [it for it in (self.cert, self.key, self.client_ca) if it is not None]


def files_of(settings: StoreSettings, directory: str) -> Files | None:
    """As the settings say; relative paths are in the data directory. None: no TLS.

    Raises InvalidSetting where something of it is set, and no certificate.
    """
    if not settings.tls_cert:
        for name in ("tls.key", "tls.client.ca"):
            if getattr(settings, name.replace(".", "_")):
                raise InvalidSetting(f"{name} is set, but tls.cert is not: TLS needs a certificate")
        return None
    if settings.tls_client_auth == "required" and not settings.tls_client_ca:
        raise InvalidSetting(
            "tls.client.auth is required, but tls.client.ca is not set: set it to the authority"
            " that signs clients' certificates"
        )
    at = Path(directory)
    return Files(
        at / settings.tls_cert,
        at / (settings.tls_key or settings.tls_cert),
        at / settings.tls_client_ca if settings.tls_client_ca else None,
        settings.tls_client_auth == "required",
    )


@dataclass(frozen=True, slots=True)
class Loaded:
    """The context for handshakes, and facts about its certificate."""

    context: ssl.SSLContext
    unasking: ssl.SSLContext  # the same for peers that are asked for no certificate
    digests: Sequence[bytes]  # of the files' bytes
    shown: Mapping[str, Any]  # our certificate, as ``getpeercert`` gives it

    @property
    def expires_s(self) -> int:
        """Seconds since 1970."""
        return int(ssl.cert_time_to_seconds(self.shown["notAfter"]))

    @property
    def names(self) -> Sequence[str]:
        """Names and addresses that clients may know us by."""
        return [it for kind, it in self.shown.get("subjectAltName", ()) if kind in _BY_NAME]

    def covers(self, host: str) -> bool:
        """Whether a client that has come by this name, or address, is satisfied."""
        return any(_same_host(host, kind, it) for kind, it in self.shown.get("subjectAltName", ()))


_BY_NAME: Final = ("DNS", "IP Address")


def _same_host(host: str, kind: str, name: str) -> bool:
    """RFC 6125, 6.4: a star stands for the whole first label."""
    if kind == "IP Address":
        try:
            return ip_address(host) == ip_address(name)
        except ValueError:
            return False
    if kind != "DNS":
        return False
    host, name = host.lower().rstrip("."), name.lower().rstrip(".")
    return host == name or (name.startswith("*.") and host.partition(".")[2] == name[2:])


def load(files: Files) -> Loaded:
    """Raises Failed, which says of which file it is, and why."""
    for _ in range(TRIES):
        contents = [_read(path) for path in files.paths]
        context = unasking = _context(files)
        if files.client_ca is not None:
            unasking = _context(replace(files, client_ca=None, required=False))
        found = digests(contents)
        if found == digests([_read(path) for path in files.paths]):
            return Loaded(context, unasking, found, _shown(files, unasking))
    raise Failed(f"{files.cert}: it is being written: try again")


def digests(contents: Sequence[bytes]) -> Sequence[bytes]:
    return [sha256(it).digest() for it in contents]


def _read(path: Path) -> bytes:
    """Raises Failed. Of a pipe nothing is read: that would wait, and keep us from stopping."""
    try:
        with open(path, "rb", opener=_at_once) as file:
            if not S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Failed(f"{path}: can't be read: not a file")
            content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise Failed(f"{path}: can't be read: {error.strerror}") from None
    if len(content) > FILE_BYTES_MAX:
        raise Failed(f"{path}: can't be read: it has more than {FILE_BYTES_MAX} bytes")
    return content


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _context(files: Files) -> ssl.SSLContext:
    certs, key = _read(files.cert), _read(files.key)
    _check_pem(files.cert, certs, "CERTIFICATE", "certificate")
    _check_pem(files.key, key, "[A-Z ]*PRIVATE KEY", "private key")
    if re.search(rb"-----BEGIN ENCRYPTED PRIVATE KEY|^Proc-Type: 4,ENCRYPTED", key, re.MULTILINE):
        raise Failed(
            f"{files.key}: the key is encrypted, and a server cannot ask for its password:"
            " decrypt it with openssl pkey, into a file that only this user may read"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # asked for by a client, it costs us most
    context.set_ciphers(CIPHERS)
    try:
        # Asked for a password it would ask at the terminal.
        context.load_cert_chain(files.cert, files.key, password=lambda: b"")
    except (ssl.SSLError, ValueError, OSError) as error:
        raise _unfit(files, certs, error) from None
    if files.client_ca is not None:
        _check_pem(files.client_ca, _read(files.client_ca), "CERTIFICATE", "certificate")
        try:
            context.load_verify_locations(files.client_ca)
        except (ssl.SSLError, OSError) as error:
            raise Failed(f"{files.client_ca}: not a certificate: {_words(error)}") from None
        context.verify_mode = ssl.CERT_REQUIRED if files.required else ssl.CERT_OPTIONAL
    return context


def _check_pem(path: Path, content: bytes, label: str, what: str) -> None:
    """Raises Failed where there is none of this label, or only its beginning."""
    begins = re.findall(rf"-----BEGIN {label}-----".encode(), content)
    if not begins:
        raise Failed(f"{path}: has no {what} in PEM: -----BEGIN ...-----")
    if len(re.findall(rf"-----END {label}-----".encode(), content)) < len(begins):
        raise Failed(f"{path}: ends in the middle of a {what}: it is only half written")


def _unfit(files: Files, certs: bytes, error: Exception) -> Failed:
    """OpenSSL tells not of which file it is."""
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return Failed(f"{files.key}: the key does not belong to the certificate in {files.cert}")
    if reason in _TOO_WEAK:
        return Failed(f"{files.cert}: {_TOO_WEAK[reason]}")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(
            cadata="".join(it.decode("ascii", "replace") for it in _PEM.findall(certs))
        )
    except (ssl.SSLError, ValueError) as wrong:
        return Failed(f"{files.cert}: not a certificate: {_words(wrong)}")
    return Failed(f"{files.key}: not a private key: {_words(error)}")


_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\s*", re.DOTALL)


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    if isinstance(reason, str):
        return reason.replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error) or "not understood"


def _shown(files: Files, context: ssl.SSLContext) -> Mapping[str, Any]:
    """Our certificate as a client sees it that trusts it: shake hands with ourselves. ``context``
    asks for none of the client's.

    Raises Failed where every client would refuse it, whomever it trusts: it has expired, is not
    valid yet, or is not for servers.
    """
    asks = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asks.check_hostname = False
    asks.verify_flags |= PARTIAL_CHAIN  # it has to trust the one that is shown, whoever signed it
    first = _PEM.search(_read(files.cert))
    assert first is not None, "it was loaded"
    asks.load_verify_locations(cadata=first[0].decode("ascii", "replace"))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asks.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    try:
        for end in (client, server, client):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    except ssl.SSLCertVerificationError as error:
        raise Failed(f"{files.cert}: no client would accept it: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise Failed(f"{files.cert}: it cannot be used for TLS: {_words(error)}") from None
    try:
        shown = client.getpeercert()
    except (ValueError, ssl.SSLError):
        raise Failed(f"{files.cert}: a name in the certificate is not text") from None
    assert shown, "it was verified"
    return shown


class Certificates:
    """The certificates in use, as ``handshakes.Tls``."""

    def __init__(self, files: Files, rules: Rules, loaded: Loaded) -> None:
        self.files = files
        self._rules = rules
        self._loaded = loaded
        self._seen: Sequence[object] = ()  # the first look reads them: they may be others by then
        self._tried: Sequence[bytes] = loaded.digests

    @classmethod
    def of(cls, settings: StoreSettings, directory: str) -> "Certificates | None":
        """None: no TLS. Raises InvalidSetting, Failed."""
        rules = parse_rules(settings.tls_client_user_rules)
        files = files_of(settings, directory)
        return None if files is None else cls(files, rules, load(files))

    @property
    def context(self) -> ssl.SSLContext:
        """What the next handshake is made with."""
        return self._loaded.context

    @property
    def loaded(self) -> Loaded:
        return self._loaded

    def whose(self, shown: Mapping[str, Any]) -> Certificate:
        """As Tls.whose."""
        return certificate(shown, self._rules)

    def unasking(self) -> "Unasking":
        """The same for peers that are asked for no certificate."""
        return Unasking(self)

    def use(self, loaded: Loaded) -> None:
        """From now on; connections that there are keep what they have."""
        self._loaded = loaded

    def load_changed(self, *, asked: bool = False) -> Loaded | None:
        """What is in the files now, if that is something else. From any thread, one at a time.

        Files that were no good are not tried again before they change, unless it is ``asked``.
        Raises Failed.
        """
        seen = self._stat()
        if seen == self._seen and not asked:
            return None
        self._seen = seen  # also where that fails: it is told once
        found = digests([_read(path) for path in self.files.paths])
        tried, self._tried = self._tried, found
        if found == self._loaded.digests or (found == tried and not asked):
            return None
        return load(self.files)

    def _stat(self) -> Sequence[tuple[int, ...]]:
        """Of what links lead to: editors and Kubernetes put another file in its place."""
        found: list[tuple[int, ...]] = []
        for path in self.files.paths:
            try:
                it = path.stat()
            except OSError:
                found.append(())  # reading it says why
            else:
                found.append((it.st_mtime_ns, it.st_ino, it.st_dev, it.st_size))
        return found


class Unasking:
    """A ``handshakes.Tls`` for peers that prove their identity in another way."""

    def __init__(self, of: Certificates) -> None:
        self._of = of

    @property
    def context(self) -> ssl.SSLContext:
        """What the next handshake is made with."""
        return self._of.loaded.unasking

    def whose(self, shown: Mapping[str, Any]) -> Certificate:
        """As Tls.whose."""
        return self._of.whose(shown)


def doubts(loaded: Loaded, hosts: Sequence[str], now_s: float) -> Sequence[str]:
    """What is likely to be found out by clients, as lines. Pure.

    ``hosts``: what Kafka clients are told to connect to, as far as it is known.
    """
    lines = []
    days = (loaded.expires_s - now_s) / 86_400
    if days < 0:
        lines.append(f"has expired, on {loaded.shown['notAfter']}: clients refuse it")
    elif days * 86_400 < SOON_S:
        lines.append(f"expires in {days:.0f} days, on {loaded.shown['notAfter']}")
    if not loaded.names:
        lines.append("has no subjectAltName: clients accept it by no name at all")
    lines += [
        f"is not for {host}, which Kafka clients are told to connect to, only for "
        f"{', '.join(loaded.names)}: see kafka.tls.advertised.address"
        for host in hosts
        if loaded.names and not loaded.covers(host)
    ]
    return lines
