"""A server's side of TLS in one process with its clients."""

from pathlib import Path

from logstore.certificates import Certificates, Files, load
from logstore.subject import parse_rules


class InUse(Certificates):
    """The certificates of a server that the authority has signed; ``asks`` is for its clients."""

    def __init__(self, authority, *, clients=False, required=False, rules="DEFAULT", **how):
        self.authority = authority
        cert, key = map(Path, authority.server(**how))
        files = Files(cert, key, Path(authority.path) if clients else None, required)
        super().__init__(files, parse_rules(rules), load(files))
        self.asks = authority.asks()
