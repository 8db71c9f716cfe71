"""The checked settings of a connection to a cluster: its addresses, and how this process logs in.

The password comes from a file or the environment, never from a setting, because settings are shown
to users. Nothing here repeats it.
"""

import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final

from logstore.cluster import given_files
from logstore.cluster.brokers import Address
from logstore.cluster.link_settings import LinkSettings
from logstore.cluster.login import Credentials
from logstore.errors import Failed, InvalidSetting
from logstore.names import PASSWORD_BYTES_MAX
from logstore.settings import StoreSettings
from logstore.variables import CLUSTER_PASSWORD

SERVERS_MAX: Final = 100  # any of them tells the others
_SERVER: Final = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^\s:,\[\]/@]+)):([0-9]{1,5})", re.ASCII)
WITH_TLS: Final = frozenset({"SSL", "SASL_SSL"})
WITH_LOGIN: Final = frozenset({"SASL_PLAINTEXT", "SASL_SSL"})


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """The settings of one cluster."""

    bootstrap: Sequence[Address]
    credentials: Credentials | None
    tls: ssl.SSLContext | None
    server_name: str  # that brokers' certificates have; "": the host of each
    rack: str  # where this process is, as brokers know racks; "": that is not said
    link: LinkSettings  # of the nodes

    @property
    def name(self) -> str:
        """The name of the cluster for people."""
        host, port = self.bootstrap[0]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @classmethod
    def of(
        cls, settings: StoreSettings, environment: Mapping[str, str], directory: Path
    ) -> "ClusterSettings | None":
        """The settings; None: there is no cluster. Relative paths are in the directory.

        Raises InvalidSetting, Failed.
        """
        if not settings.cluster_bootstrap_servers:
            return None
        _check_used(settings)
        protocol, credentials = settings.cluster_security_protocol, None
        if protocol in WITH_LOGIN:
            credentials = _credentials(settings, environment, directory)
        password = "" if credentials is None else credentials.password
        return cls(
            addresses_of(settings.cluster_bootstrap_servers),
            credentials,
            _tls(settings, directory) if protocol in WITH_TLS else None,
            settings.cluster_tls_server_name,
            settings.cluster_client_rack,
            LinkSettings.of(settings, password, directory),
        )


def addresses_of(servers: Sequence[str]) -> list[Address]:
    """The addresses in a list of ``host:port``, IPv6 in brackets. Raises InvalidSetting."""
    if len(servers) > SERVERS_MAX:
        raise InvalidSetting(
            f"cluster.bootstrap.servers: {len(servers)} addresses, at most {SERVERS_MAX} allowed"
        )
    return [_address(it) for it in servers]


def _address(text: str) -> Address:
    found = _SERVER.fullmatch(text)
    port = 0 if found is None else int(found[3])
    if found is None or not 1 <= port <= 65_535 or not (found[2] or _is_v6(found[1])):
        raise InvalidSetting(
            f"cluster.bootstrap.servers: {text[:100]!r} is not host:port, such as kafka-1:9092 or "
            f"[::1]:9092"
        )
    return found[1] or found[2], port


def _is_v6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _check_used(settings: StoreSettings) -> None:
    """Raises InvalidSetting for a setting that would have no effect, because it is a mistake."""
    protocol = settings.cluster_security_protocol
    if protocol not in WITH_TLS:
        for name in ("ca", "cert", "key", "server_name"):
            if getattr(settings, f"cluster_tls_{name}"):
                raise InvalidSetting(
                    f"cluster.tls.{name.replace('_', '.')} is set, and cluster.security.protocol "
                    f"is {protocol}: for TLS it is SSL or SASL_SSL"
                )
    if protocol not in WITH_LOGIN:
        for name in ("user", "password_file"):
            if getattr(settings, f"cluster_sasl_{name}"):
                raise InvalidSetting(
                    f"cluster.sasl.{name.replace('_', '.')} is set, and cluster.security.protocol "
                    f"is {protocol}: for a login it is SASL_SSL or SASL_PLAINTEXT"
                )


# Who this process is


def _credentials(
    settings: StoreSettings, environment: Mapping[str, str], directory: Path
) -> Credentials:
    if not settings.cluster_sasl_user:
        raise InvalidSetting(
            f"cluster.security.protocol is {settings.cluster_security_protocol}, which needs a"
            " login: set cluster.sasl.user"
        )
    password = _password(settings.cluster_sasl_password_file, environment, directory)
    return Credentials(settings.cluster_sasl_mechanism, settings.cluster_sasl_user, password)


def _password(file: str, environment: Mapping[str, str], directory: Path) -> str:
    given = environment.get(CLUSTER_PASSWORD)
    if file and given is not None:
        raise InvalidSetting(
            f"cluster.sasl.password.file and {CLUSTER_PASSWORD} are both set: leave one of them out"
        )
    bounds = 1, PASSWORD_BYTES_MAX
    if given is not None:
        raw = given.encode(errors="surrogateescape")
        return given_files.checked(CLUSTER_PASSWORD, raw, "password", *bounds)
    if not file:
        raise InvalidSetting(
            f"the login to the cluster needs a password: name its file in "
            f"cluster.sasl.password.file, or set {CLUSTER_PASSWORD}"
        )
    return given_files.line(directory / file, "password", *bounds)


# TLS


def _tls(settings: StoreSettings, directory: Path) -> ssl.SSLContext:
    """Without an authority of its own, the system's are trusted."""
    ca = settings.cluster_tls_ca
    context = given_files.trusting(directory / ca if ca else None)
    if not settings.cluster_tls_cert:
        if settings.cluster_tls_key:
            raise InvalidSetting("cluster.tls.key is set, and cluster.tls.cert is not")
        return context
    cert = directory / settings.cluster_tls_cert
    key = directory / (settings.cluster_tls_key or settings.cluster_tls_cert)
    for path in (cert, key):
        given_files.read(path, 1)
    try:
        # Asked for a password it would ask at the terminal.
        context.load_cert_chain(cert, key, password=lambda: b"")
    except (ssl.SSLError, ValueError, OSError) as error:
        raise Failed(
            f"{cert} and {key} are not a certificate and its own private key, not encrypted, in "
            f"PEM: {given_files.words(error)}"
        ) from None
    return context
