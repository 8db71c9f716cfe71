"""Addresses of peers in the form that rules, logs and limits use."""

from typing import Final

_MAPPED: Final = "::ffff:"  # RFC 4291, 2.5.5.2


def plain(host: str) -> str:
    """``10.1.2.3`` for ``::ffff:10.1.2.3``: who comes by IPv4 to a socket that listens at ``::``.

    Any other address is given back as it is.
    """
    rest = host.removeprefix(_MAPPED)
    return rest if "." in rest and ":" not in rest else host
