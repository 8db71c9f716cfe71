"""Whether a request may come from another site's page, in a browser that reaches this server. Pure.

A browser sends requests of any page to any server, with the privileges that it has there: a cookie,
a certificate, or access without login (a loopback address). So:

- If no login is required, the Host of the request must be this machine, or a name in the settings.
  Otherwise a page could make its own name point to this server's address (DNS rebinding), and would
  be of the same origin.
- A page of another origin is refused if the browser says that it is one (Origin, Sec-Fetch-Site).
  No reply permits such a page to read anything (no CORS).
- A request that changes something needs a header that such a page cannot send without a preflight
  request: X-Logstore, or Authorization if no page has sent it.
"""

import re
from collections.abc import Collection, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple

from logstore.addresses import plain
from logstore.http.faults import FORBIDDEN, Fault
from logstore.printable import printable

OWN_HEADER: Final = "x-logstore"
SAFE: Final = ("GET", "HEAD", "OPTIONS")  # methods that change nothing
_LOCAL: Final = "localhost"
_OWN_SITE: Final = ("same-origin", "none")  # none: the user has typed the address
_SHOWN: Final = 100  # characters
_HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:@/\s]*))(?::[0-9]*)?")


class Place(NamedTuple):
    """The address at which a request arrived."""

    address: str  # of this end of the connection
    login_needed: bool  # nobody may do anything without
    names: Collection[str]  # by which clients know this server, besides its addresses


def check(method: str, headers: Mapping[str, str], place: Place, *, public: bool = False) -> None:
    """``public``: the answer is the same for everyone, and nothing secret. Raises Fault."""
    host = headers.get("host", "")
    if not (place.login_needed or _is_ours(_name(host), place)):
        raise Fault(
            FORBIDDEN,
            f"the host '{_shown(host)}' is not known here: ask for 127.0.0.1 or localhost, or set "
            "http.hosts",
        )
    if public and method in SAFE:
        return
    _check_site(method, headers, place)
    # A browser adds a password that it remembers to requests of any page, a tool has no Origin.
    says_who = "authorization" in headers and "origin" not in headers
    if method not in SAFE and OWN_HEADER not in headers and not says_who:
        raise Fault(
            FORBIDDEN,
            f"{method} needs the header X-Logstore: 1, or Authorization: so that no page of "
            "another server can have a browser send it",
        )


def _is_ours(name: str, place: Place) -> bool:
    if name == _LOCAL or name in place.names:
        return True
    address = _address(name)
    here = _address(place.address)
    if here is None or here.is_loopback:
        return address is not None and address.is_loopback
    # Names that no page of the Internet can have: an address, or one without a dot.
    return address is not None or (bool(name) and "." not in name)


def _check_site(method: str, headers: Mapping[str, str], place: Place) -> None:
    """Raises Fault."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        if site not in _OWN_SITE and not _follows_link(method, headers):
            raise Fault(FORBIDDEN, "a page of another site may not ask this")
        return
    origin = headers.get("origin")
    if origin is None:
        return
    scheme, _, host = origin.partition("://")
    same = bool(host) and _port(host, scheme) == _port(headers.get("host", ""), scheme)
    if not same and _name(host) not in place.names:
        raise Fault(
            FORBIDDEN,
            f"a page of '{_shown(origin)}' may not ask this; if that is this server, set "
            "http.hosts",
        )


def _follows_link(method: str, headers: Mapping[str, str]) -> bool:
    """Whether the user has followed a link to an answer, which the page with the link can't see."""
    navigates = headers.get("sec-fetch-mode") == "navigate"
    return navigates and headers.get("sec-fetch-dest") == "document" and method in SAFE


def _name(host: str) -> str:
    """Without the port, as names are compared."""
    found = _HOST.fullmatch(host)
    return "" if found is None else (found["v6"] or found["name"]).lower().removesuffix(".")


def _port(host: str, scheme: str) -> tuple[str, str]:
    """Name and port, also where that is the usual one."""
    _, _, port = host.rpartition("]")[2].partition(":")
    return _name(host), port or {"http": "80", "https": "443"}.get(scheme, "")


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(plain(name))
    except ValueError:
        return None


def _shown(text: str) -> str:
    return printable(text[:_SHOWN])
