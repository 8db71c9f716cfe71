"""``logstore tls self-signed``: an authority of one's own, and what it signs, for trying out."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import typer

from .command import INPUT, OUTPUT, Command, Group
from .ends import CommandFailed, put, say, tell

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate

app = typer.Typer(cls=Group, no_args_is_help=True)

FOLDER: Final = "logstore-tls"
HERE: Final = ("localhost", "127.0.0.1", "::1")
NAME_MAX: Final = 64  # of a common name: X.520's bound
LABEL: Final = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?"
MACHINE: Final = re.compile(rf"(\*\.)?{LABEL}(\.{LABEL})*\.?", re.IGNORECASE)
CLIENT: Final = re.compile(r"[^/\\\0-\x1f\x7f.][^/\\\0-\x1f\x7f]*")  # a file is called so, too
# Without the library that makes certificates: what does the same.
BY_HAND: Final = """\
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days {days} \\
  -subj /CN={name} -addext subjectAltName={names} -keyout server.key -out server.pem"""


@app.callback()
def group() -> None:
    """Make certificates to try out TLS with."""


@app.command("self-signed", cls=Command)
def self_signed(
    into: Annotated[
        Path,
        typer.Option(
            "--into",
            metavar="FOLDER",
            rich_help_panel=OUTPUT,
            show_default=False,
            help="The folder for the files, created if missing; defaults to logstore-tls.",
        ),
    ] = Path(FOLDER),
    name: Annotated[
        list[str] | None,
        typer.Option(
            "--name",
            metavar="NAME",
            rich_help_panel=INPUT,
            help="A name or address that clients connect to; may be repeated; defaults to"
            " localhost, 127.0.0.1, ::1 and the name of this machine.",
        ),
    ] = None,
    client: Annotated[
        list[str] | None,
        typer.Option(
            "--client",
            metavar="NAME",
            rich_help_panel=INPUT,
            help="A client to make a certificate for, with the subject CN=NAME; may be repeated.",
        ),
    ] = None,
    days: Annotated[
        int,
        typer.Option(
            "--days",
            metavar="N",
            rich_help_panel=INPUT,
            min=1,
            max=3650,
            show_default=False,
            help="The number of days for which the certificates are valid, 1 to 3650; defaults"
            " to 365.",
        ),
    ] = 365,
) -> None:
    """Make an authority and a server certificate.

    If the folder already has an authority, it signs the missing certificates. Needs the package
    cryptography: pip install 'logstore[tls]'.

    $ logstore tls self-signed --name broker.example
    $ logstore tls self-signed --client alice
    """
    names = list(dict.fromkeys(name or _names_of_this_machine()))
    clients = list(dict.fromkeys(client or ()))
    for it in names:
        _check_name(it)
    for it in clients:
        if not CLIENT.fullmatch(it) or len(it) > NAME_MAX or it in ("ca", "server"):
            raise typer.BadParameter(
                f"--client {it!r}: must be a name of 1 to {NAME_MAX} characters, without a slash or"
                " a leading dot, other than ca and server"
            )
    try:
        import cryptography  # noqa: F401  94 ms: no other command pays them
    except ImportError:
        say(
            "logstore: this command needs the package cryptography: pip install"
            " 'logstore[tls]'; or run"
        )
        for line in _by_hand(names, days):
            say(line)
        raise typer.Exit(1) from None
    folder = _Folder(into)
    wanted = clients if folder.has("server") and clients else [*clients, ""]
    taken = [it or "server" for it in wanted if folder.has(it or "server")]
    if taken:
        raise CommandFailed(
            f"{into}: {taken[0]}.pem already exists: use --client NAME for a certificate of"
            " another client, or --into for another folder"
        )
    authority = folder.authority(days)
    for it in wanted:
        folder.sign(authority, it, names, days)
    tell(f"made {', '.join(folder.made)} in {into}")
    put(_how_to_use(into.absolute(), clients))


def _names_of_this_machine() -> Sequence[str]:
    import socket

    host = socket.gethostname()
    return [*HERE, host] if MACHINE.fullmatch(host) else HERE


def _check_name(name: str) -> None:
    if _address(name) is None and (len(name) > 253 or not MACHINE.fullmatch(name)):
        raise typer.BadParameter(f"--name {name!r}: must be an IP address or a host name")


def _address(name: str) -> Any:  # noqa: ANN401  of either version
    from ipaddress import ip_address

    try:
        return ip_address(name)
    except ValueError:
        return None


def _by_hand(names: Sequence[str], days: int) -> Sequence[str]:
    shown = ",".join(f"{'DNS' if _address(it) is None else 'IP'}:{it}" for it in names)
    return BY_HAND.format(days=days, name=names[0], names=shown).splitlines()


def _how_to_use(folder: Path, clients: Sequence[str]) -> str:
    lines = [
        f'tls.cert = "{folder / "server.pem"}"',
        f'tls.key = "{folder / "server.key"}"',
    ]
    if clients:
        lines.append(f'tls.client.ca = "{folder / "ca.pem"}"')
    return "\n".join(lines) + "\n"


class _Signed(NamedTuple):
    key: "EllipticCurvePrivateKey"
    certificate: "Certificate"


class _Folder:
    """Certificates and keys, as files that are never written over."""

    def __init__(self, path: Path) -> None:
        self.made: list[str] = []
        self._path = path

    def has(self, name: str) -> bool:
        return any((self._path / f"{name}.{it}").exists() for it in ("pem", "key"))

    def authority(self, days: int) -> _Signed:
        """The existing authority, or a new one. Raises CommandFailed."""
        if not self.has("ca"):
            it = _new("logstore tls self-signed", None, [], days)
            self._write("ca", it)
            return it
        from datetime import UTC, datetime

        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

        try:
            key = serialization.load_pem_private_key((self._path / "ca.key").read_bytes(), None)
            certificate = x509.load_pem_x509_certificate((self._path / "ca.pem").read_bytes())
        except (OSError, ValueError, TypeError) as error:
            why = getattr(error, "strerror", None) or "ca.pem or ca.key is damaged"
            raise CommandFailed(f"{self._path}: the authority can't be used: {why}") from None
        if not isinstance(key, EllipticCurvePrivateKey):
            raise CommandFailed(f"{self._path}: ca.key was not made by this command")
        if certificate.not_valid_after_utc <= datetime.now(UTC):
            raise CommandFailed(
                f"{self._path}: the authority has expired: remove ca.pem and ca.key"
            )
        return _Signed(key, certificate)

    def sign(self, authority: _Signed, client: str, names: Sequence[str], days: int) -> None:
        """Sign a certificate. ``client``: "" for the server."""
        signed = _new(client or names[0], authority, [] if client else names, days)
        self._write(client or "server", signed)

    def _write(self, name: str, signed: _Signed) -> None:
        from cryptography.hazmat.primitives import serialization

        pem = serialization.Encoding.PEM
        key = signed.key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        # The key first: a certificate without one would look as if all were there.
        for suffix, content, mode in (
            ("key", key, 0o600),
            ("pem", signed.certificate.public_bytes(pem), 0o644),
        ):
            path = self._path / f"{name}.{suffix}"
            try:
                self._path.mkdir(0o755, parents=True, exist_ok=True)
                with open(path, "xb", opener=lambda at, flags: os.open(at, flags, mode)) as file:  # noqa: B023
                    file.write(content)
            except OSError as error:
                raise CommandFailed(f"{path}: can't be written: {error.strerror}") from None
            self.made.append(path.name)


def _new(name: str, authority: _Signed | None, names: Sequence[str], days: int) -> _Signed:
    """A key and its certificate: an authority's without one, a server's with names, or a client's.

    Elliptic curves halve the server's cost of a handshake compared with RSA.
    """
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:NAME_MAX])])
    now = datetime.now(UTC)
    until = now + timedelta(days=days)
    if authority is not None:  # a certificate expires no later than its authority
        until = min(until, authority.certificate.not_valid_after_utc)
    issuer = subject if authority is None else authority.certificate.subject
    public = (key if authority is None else authority.key).public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks of others may be slow
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(authority is None, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .add_extension(_usage(authority is None), critical=True)
    )
    if authority is not None:
        use = ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
    if names:
        known: list[x509.GeneralName] = [
            x509.DNSName(it) if _address(it) is None else x509.IPAddress(_address(it))
            for it in names
        ]
        builder = builder.add_extension(x509.SubjectAlternativeName(known), critical=False)
    return _Signed(key, builder.sign(key if authority is None else authority.key, hashes.SHA256()))


def _usage(authority: bool) -> Any:  # noqa: ANN401
    from cryptography.x509 import KeyUsage

    return KeyUsage(
        digital_signature=not authority, key_cert_sign=authority, crl_sign=authority,
        content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
