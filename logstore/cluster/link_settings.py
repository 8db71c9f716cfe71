"""Checked settings of links between nodes: how nodes recognize each other, and whether with TLS."""

import hmac
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from logstore.cluster import given_files
from logstore.errors import InvalidSetting
from logstore.settings import StoreSettings

SECRET_BYTES_MIN: Final = 16  # who hears a link begin may try secrets without asking anybody
SECRET_BYTES_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """The settings of links that this node makes or accepts."""

    secret: str = field(repr=False)  # that all nodes have; "": anybody is a node
    tls: ssl.SSLContext | None  # of links that this node makes; None: there is no TLS in any

    @classmethod
    def of(cls, settings: StoreSettings, password: str, directory: Path) -> "LinkSettings":
        """``password``: the cluster's, which is the secret if there is no other; "": there is none.

        Relative paths are in the directory. Raises InvalidSetting, Failed.
        """
        file = settings.cluster_link_secret_file
        bounds = SECRET_BYTES_MIN, SECRET_BYTES_MAX
        secret = given_files.line(directory / file, "secret", *bounds) if file else password
        return cls(secret, _tls(settings, directory))

    def secret_of(self, cluster_id: str) -> bytes:
        """The secret with which nodes of this cluster prove that they are nodes."""
        return hmac.digest(self.secret.encode(), f"links of {cluster_id}".encode(), "sha256")


def _tls(settings: StoreSettings, directory: Path) -> ssl.SSLContext | None:
    ca = settings.cluster_link_tls_ca
    if not settings.cluster_link_tls:
        if ca:
            raise InvalidSetting("cluster.link.tls.ca is set, and cluster.link.tls is false")
        return None
    if not settings.tls_cert:
        raise InvalidSetting(
            "cluster.link.tls is true, but tls.cert is not set: other nodes need the"
            " certificate to recognize this one"
        )
    return given_files.trusting(directory / ca if ca else None)
