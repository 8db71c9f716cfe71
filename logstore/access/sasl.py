"""The common part of SASL mechanisms (RFC 4422): messages are exchanged until the user is known.

A mechanism is a ``Conversation``. A new mechanism needs a class here and a row in the table of each
door that offers it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

PLAIN: Final = "PLAIN"

OTHER_AUTHZID: Final = (
    "Authentication failed: Client requested an authorization id that is different from username"
)


@dataclass(frozen=True, slots=True)
class Done:
    """The login succeeded, with this identity."""

    user: str
    token: bytes = b""  # the last that is sent
    expires_s: float | None = None  # since 1970; None: for as long as there is such a user


@dataclass(frozen=True, slots=True)
class Refusal:
    """The login failed."""

    text: str | None = None  # for the client; None: it is only told the mechanism
    user: str = ""  # who he says he is, for the log
    delay_s: float | None = None  # to hold the answer back; None: the failure is not counted yet
    why: str = ""  # for the log alone


Step = bytes | Done | Refusal  # bytes: what is sent to the client, who has more to say


class Conversation(Protocol):
    """The server's side of one login."""

    def take(self, token: bytes, then: Callable[[Step], None]) -> None:
        """Process the client's next token; ``then`` gets the result: now, or in a later turn.

        It is not called again before ``then`` was called, nor after Done or Refusal.
        """
