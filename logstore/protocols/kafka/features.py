"""The features that clients may rely on, with their levels (KIP-584).

In a cluster, the nodes agree on a level; a single node has only its own.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

FEATURES: Final[Mapping[str, int]] = MappingProxyType({
    "share.version": 2,  # KIP-932, with dead letters (KIP-1191)
    # Each end of a transaction raises its producer's epoch, and producing alone adds a partition to
    # the transaction (KIP-890). Clients with older versions are served as they request.
    "transaction.version": 2,
})  # fmt: skip
