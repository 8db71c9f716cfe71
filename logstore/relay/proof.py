"""The mutual proof that two nodes know the secret of the cluster's nodes. Pure.

    asker  Hello      which versions it speaks, who it is, whom it wants to speak to, a nonce
    owner  Challenge  the version that is spoken, who it is, a nonce of its own
    asker  Proof      HMAC-SHA256 with the secret, of "asker" and both of these messages
    owner  Proof      HMAC-SHA256 with the secret, of "owner" and both of these messages

The asker proves first, so that connecting reveals nothing against which secrets could be tried.
Neither proof can be sent back as the other one, and each is valid for this link only, because both
ends have chosen a nonce. The link is as private as its transport: between machines, that is TLS.
"""

import hmac
from typing import Final

from logstore.errors import BrokenProtocol
from logstore.relay.messages import VERSION, Challenge, Hello, framed

MAGIC: Final = b"logstore link"
NONCE_BYTES: Final = 32
NODE_BYTES_MAX: Final = 249
ASKER: Final = b"asker"
OWNER: Final = b"owner"


def hello(node: bytes, to: bytes, nonce: bytes) -> Hello:
    """How this node begins."""
    return Hello(MAGIC, VERSION, VERSION, node, to, nonce)


def challenge(given: Hello, node: bytes, nonce: bytes) -> Challenge:
    """How this node answers. Raises BrokenProtocol."""
    if given.magic != MAGIC:
        raise BrokenProtocol("the peer is not a node: only nodes of the cluster connect here")
    _check(given.node, given.nonce)
    if not given.low <= VERSION <= given.high:
        raise BrokenProtocol(
            f"node {_shown(given.node)} speaks the link in versions {given.low} to {given.high}, "
            f"this one in version {VERSION}: bring both to releases that have one in common"
        )
    if given.to != node:
        raise BrokenProtocol(
            f"node {_shown(given.node)} looks for node {_shown(given.to)}, and this is "
            f"{_shown(node)}: correct the address under which that one is known"
        )
    return Challenge(VERSION, node, nonce)


def check_challenge(own: Hello, given: Challenge) -> None:
    """Raises BrokenProtocol."""
    _check(given.node, given.nonce)
    if not own.low <= given.version <= own.high:
        raise BrokenProtocol(f"it wants to speak version {given.version} of the link")
    if given.node != own.to:
        raise BrokenProtocol(f"it is node {_shown(given.node)}, not {_shown(own.to)}")


def _check(node: bytes, nonce: bytes) -> None:
    if not 0 < len(node) <= NODE_BYTES_MAX:
        raise BrokenProtocol(f"a node's name has 1 to {NODE_BYTES_MAX} bytes, not {len(node)}")
    if len(nonce) != NONCE_BYTES:
        raise BrokenProtocol(f"a nonce has {NONCE_BYTES} bytes, not {len(nonce)}")


def mac(secret: bytes, who: bytes, asked: Hello, answered: Challenge) -> bytes:
    """What shows that ``who`` has the secret."""
    said = b"".join((*framed(asked), *framed(answered)))
    return hmac.digest(secret, who + b"\0" + said, "sha256")


def holds(given: bytes, wanted: bytes) -> bool:
    """Whether a proof is the right one, in a time that does not tell how much of it is."""
    return hmac.compare_digest(given, wanted)


def _shown(node: bytes) -> str:
    return repr(node[:NODE_BYTES_MAX].decode("utf-8", "backslashreplace"))
