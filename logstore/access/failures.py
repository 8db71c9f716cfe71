"""Counts failed logins by address, and delays replies to an address more after each failure."""

from collections import OrderedDict
from ipaddress import IPv6Address
from typing import Final

# A program with an old password is held up no longer than this, and guesses once in so long.
DELAY_MAX_S: Final = 2.0
FORGOTTEN_S: Final = 60.0  # after the last failure
HOSTS_MAX: Final = 10_000  # the oldest is forgotten: an attacker has no more addresses than memory
NETWORK_GROUPS: Final = 4  # of an IPv6 address: the rest is a host's own to choose (RFC 4291, 2.5)


class Failures:
    """The failed logins that one process remembers."""

    def __init__(self, first_s: float) -> None:
        """``first_s``: the delay after the first failure; it doubles with each further one."""
        self._first_s = first_s
        # By address: how many, and when the last one was; the latest last.
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def add(self, host: str, now: float) -> float:
        """Count a failure; returns the delay of its reply in seconds."""
        place = network(host)
        count, last = self._counts.pop(place, (0, now))
        if now - last > FORGOTTEN_S:
            count = 0
        self._counts[place] = count + 1, now
        if len(self._counts) > HOSTS_MAX:
            self._counts.popitem(last=False)
        # The exponent is bounded before the power: a count of millions makes no float.
        return min(self._first_s * 2.0 ** min(count, 30), DELAY_MAX_S)


def network(host: str) -> str:
    """The network of an address: for IPv6 its prefix, because a host has 2**64 addresses of its
    own.
    """
    if ":" not in host:
        return host
    try:
        address = IPv6Address(host)
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return ":".join(address.exploded.split(":")[:NETWORK_GROUPS])
