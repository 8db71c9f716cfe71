"""CLIENT TRACKING, CACHING, TRACKINGINFO and GETREDIR: support for client-side caching.

A client is told which values have changed, and that databases were flushed: on its own connection
with RESP3, or on another connection that it has named.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from logstore.protocols.resp.client import RespClient
from logstore.protocols.resp.onlookers.invalidation import notice, send
from logstore.protocols.resp.onlookers.party import Tracking
from logstore.protocols.resp.replies import OK, array, bulk, integer, mapping, members
from logstore.protocols.resp.requests import as_integer

PREFIXES_MAX: Final = 10_000  # put in their order with each command, in a millisecond

OTHER_MODE: Final = (
    "before disabling tracking for this client, and then re-enabling it with a different mode."
)
CACHING: Final = {b"yes": b"OPTIN", b"no": b"OPTOUT"}


_MODES: Final = (b"BCAST", b"OPTIN", b"OPTOUT", b"NOLOOP")


def _options(client: RespClient, words: Sequence[bytes]) -> Tracking | None:
    """The parsed options; None after an error reply."""
    modes: set[bytes] = set()
    prefixes: list[bytes] = []
    redirect, at = 0, 0
    while at < len(words):
        option, more = words[at].upper(), at + 1 < len(words)
        if option in _MODES:
            modes.add(option)
        elif option == b"REDIRECT" and more:
            at += 1
            if redirect:
                client.fail("A client can only redirect to a single other client")
                return None
            number = as_integer(words[at])
            if number is None:
                client.fail("value is not an integer or out of range")
                return None
            if number not in client.everyone:
                client.fail("The client ID you want redirect to does not exist")
                return None
            redirect = number
        elif option == b"PREFIX" and more:
            at += 1
            prefixes.append(words[at])
        else:
            client.fail("syntax error")
            return None
        at += 1
    return Tracking(frozenset(modes), redirect, tuple(prefixes))


def _conflict(now: Tracking | None, asked: Tracking) -> str | None:
    """Why the modes conflict with each other or with earlier ones; None if they do not."""
    before = now.modes if now is not None else frozenset()
    if asked.prefixes and b"BCAST" not in asked.modes:
        return "PREFIX option requires BCAST mode to be enabled"
    if now is not None and (b"BCAST" in before) != (b"BCAST" in asked.modes):
        return f"You can't switch BCAST mode on/off {OTHER_MODE}"
    if b"BCAST" in asked.modes and asked.modes & {b"OPTIN", b"OPTOUT"}:
        return "OPTIN and OPTOUT are not compatible with BCAST"
    if {b"OPTIN", b"OPTOUT"} <= asked.modes:
        return "You can't specify both OPTIN mode and OPTOUT mode"
    if {b"OPTIN", b"OPTOUT"} <= asked.modes | before:
        return f"You can't switch OPTIN/OPTOUT mode {OTHER_MODE}"
    return None


def _overlap(now: Tracking | None, prefixes: Sequence[bytes]) -> bytes | None:
    """The error for a client's prefixes that contain each other; None if none do."""
    text = (
        b"Prefix '%b' overlaps with %b prefix '%b'. Prefixes for a single client must not overlap."
    )
    known = now.prefixes if now is not None else ()
    for at, prefix in enumerate(prefixes):
        # No known prefix except the empty one contains another: only neighbours can contain the new
        # one.
        place = bisect_right(known, prefix)
        for before in (*known[:1], *known[max(place - 1, 0) : place + 1]):
            if prefix.startswith(before) or before.startswith(prefix):
                return text % (prefix, b"an existing", before)
        for other in prefixes[at + 1 :]:
            if prefix.startswith(other) or other.startswith(prefix):
                return text % (prefix, b"another provided", other)
    return None


def track(client: RespClient, arguments: Sequence[bytes]) -> None:
    """CLIENT TRACKING."""
    asked = _options(client, arguments[3:])
    if asked is None:
        return
    switch, now = arguments[2].lower(), client.tracking
    if switch == b"off":
        stop(client)
    elif switch == b"on":
        wrong = _conflict(now, asked) or _overlap(now, asked.prefixes)
        if wrong:
            client.fail(wrong)
            return
        if b"BCAST" in asked.modes:
            before = now.prefixes if now is not None else ()
            asked.prefixes = tuple(sorted({*before, *(asked.prefixes or (b"",))}))
            if len(asked.prefixes) > PREFIXES_MAX:
                client.fail(f"more than {PREFIXES_MAX} prefixes of one client")
                return
        client.tracking = asked
        onlookers = client.door.onlookers
        onlookers.tracked.everyone = client.everyone
        onlookers.tracked.listen(client, asked.prefixes)
        onlookers.look()
    else:
        client.fail("syntax error")
        return
    client.say(OK)


def stop(client: RespClient) -> None:
    """Stop tracking: the client keeps no copies."""
    if client.tracking is not None:
        client.tracking = None
        client.door.onlookers.tracked.forget(client)
        client.door.onlookers.look()


def cache(client: RespClient, arguments: Sequence[bytes]) -> None:
    """CLIENT CACHING."""
    if client.tracking is None:
        client.fail(
            "CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or "
            "OPTOUT mode enabled"
        )
        return
    word = arguments[2].lower()
    mode = CACHING.get(word)
    if mode is None:
        client.fail("syntax error")
    elif mode not in client.tracking.modes:
        client.fail(
            f"CLIENT CACHING {word.decode().upper()} is only valid when tracking is enabled in "
            f"{mode.decode()} mode."
        )
    else:
        client.tracking.caching = True
        client.say(OK)


def redirection(client: RespClient, _: Sequence[bytes]) -> None:
    """CLIENT GETREDIR."""
    client.say(integer(-1 if client.tracking is None else client.tracking.redirect))


def describe(client: RespClient, _: Sequence[bytes]) -> None:
    """CLIENT TRACKINGINFO."""
    tracking = client.tracking
    flags = [b"off"]
    if tracking is not None:
        flags = [b"on"]
        for mode in _MODES:
            if mode in tracking.modes:
                flags.append(mode.lower())
                caching = next((yes for yes, it in CACHING.items() if it == mode), None)
                if tracking.caching and caching is not None:
                    flags.append(b"caching-" + caching)
        flags += [b"broken_redirect"] * tracking.broken
    about = {
        b"flags": members([bulk(flag) for flag in flags], client.version),
        b"redirect": integer(-1 if tracking is None else tracking.redirect),
        b"prefixes": array([bulk(it) for it in (() if tracking is None else tracking.prefixes)]),
    }
    client.say(mapping(about, client.version))


def tell_flushed(by: RespClient) -> None:
    """Notify all tracking clients that this client flushed databases."""
    others = [client for client in by.everyone.values() if client is not by]
    for client in (*others, by):
        if client.tracking is not None:
            send(notice(client, client.tracking, None), by)
