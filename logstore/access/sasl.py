"""What the mechanisms of SASL have in common (RFC 4422): tokens come, until it is known who it is.

A mechanism is a ``Conversation``. Another one needs a class and a row where the door chooses.
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
    """It is known who it is."""

    user: str
    token: bytes = b""  # the last that is sent
    expires_s: float | None = None  # since 1970; None: for as long as there is such a user


@dataclass(frozen=True, slots=True)
class Refusal:
    """He does not come in."""

    text: str | None = None  # for the client; None: it is only told the mechanism
    user: str = ""  # who he says he is, for the log
    delay_s: float | None = None  # to hold the answer back; None: the failure is not counted yet
    why: str = ""  # for the log alone


Step = bytes | Done | Refusal  # bytes: what is sent to the client, who has more to say


class Conversation(Protocol):
    """The server's side of one login."""

    def take(self, token: bytes, then: Callable[[Step], None]) -> None:
        """The client's next token; ``then`` gets what follows: now, or in a later turn.

        Not called again before ``then`` was, nor after Done or Refusal.
        """
