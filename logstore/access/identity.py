"""The identity of a client: its user, the door that it came through, and its address."""

from typing import Final

from msgspec import Struct

OAUTHBEARER: Final = "OAUTHBEARER"  # the mechanism of whom a token names

BASIC: Final = "BASIC"  # HTTP's (RFC 7617), and the login of its page

# Those by which a client shows that it knows a password.
BY_PASSWORD: Final = (BASIC, "PLAIN", "AMQPLAIN", "AUTH", "SCRAM-SHA-256", "SCRAM-SHA-512")


class Identity(Struct, frozen=True):
    """The identity of one connection after its login."""

    user: str  # "" : nobody has said who it is
    host: str  # the peer's address; "" for a process of this machine
    mechanism: str = ""  # that he has logged in with
    door: str = ""
    owner: bool = False  # whoever may open the data directory's own socket: it may do everything

    @property
    def principal(self) -> str:
        """The user in Kafka's form."""
        return f"User:{self.user or 'ANONYMOUS'}"


OWNER: Final = Identity("", "", owner=True)


def anonymous(host: str, door: str = "") -> Identity:
    """The identity of a client without a login."""
    return Identity("", host, door=door)
