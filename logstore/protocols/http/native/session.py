"""The login of a browser: log in, log out, and who is logged in."""

import msgspec

from logstore.access.identity import Identity
from logstore.errors import Forbidden
from logstore.protocols.http.call import Call
from logstore.protocols.http.door import HttpDoor
from logstore.protocols.http.entry.credentials import Basic, cookie, cookies
from logstore.protocols.http.entry.gate import TurnedAway, wrong
from logstore.protocols.http.permits import LET_IN, Permits


class Login(msgspec.Struct, forbid_unknown_fields=True):
    """A name and a password."""

    user: str
    password: str


def whoami(door: HttpDoor, call: Call) -> None:
    """Reply with the caller's user, and whether a login is needed, also without a login."""
    call.answer(row(door, call.rights))


def row(door: HttpDoor, permits: Permits) -> dict[str, object]:
    """A user's own view of the user."""
    who = permits.who
    return {
        "user": who.user,
        "tags": sorted(permits.tags),
        "owner": who.owner,
        "login_needed": not door.access.knows(who),
        "cluster": permits.sees_all and door.cluster is not None,
        "directory": door.node.path if permits.sees_all else None,
    }


def logged_in(door: HttpDoor, call: Call) -> None:
    """Log in; the reply sets a cookie. Raises Forbidden for a user without a management tag."""
    asked = call.json(Login)
    if not door.access.required:  # everyone is in
        call.answer(row(door, call.rights))
        return
    said = Basic(asked.user.encode(), asked.password.encode())

    def known(who: Identity | TurnedAway) -> None:
        if isinstance(who, TurnedAway):
            call.later(who.delay_s, lambda: call.fail(wrong(call.headers)))
        else:
            call.attempt(lambda: _let_in(door, call, who))

    door.gate.log_in(said, call.who.host, known)


def _let_in(door: HttpDoor, call: Call, who: Identity) -> None:
    permits = Permits(door.access, who)
    if not permits.is_let_in:
        raise Forbidden(
            f"user '{who.user}' may not use this: it needs one of the tags"
            f" {', '.join(sorted(LET_IN))}"
        )
    door.gate.told(who)
    door.let_out(cookies(call.headers))  # it has logged in again
    header = cookie(door.gate.remember(who), secure=call.secure)
    call.answer(row(door, permits), headers=[("set-cookie", header)])


def logged_out(door: HttpDoor, call: Call) -> None:
    """Log out; the cookie becomes invalid."""
    door.let_out(cookies(call.headers))
    call.answer({}, headers=[("set-cookie", cookie("", secure=call.secure, age_s=0))])
