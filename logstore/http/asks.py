"""The right that each route requires; a route without one cannot exist."""

from typing import Final, NamedTuple

# What one must be: nobody in particular; anybody, who may say who he is; a user with one of the
# tags of management; one who may set policies; one who sees what is not his; one who may do
# everything; whoever comes through the directory's own socket.
NOBODY: Final = ""
ANYBODY: Final = "anybody"
MANAGEMENT: Final = "management"
POLICYMAKER: Final = "policymaker"
MONITORING: Final = "monitoring"
ADMINISTRATOR: Final = "administrator"
LOCAL: Final = "local"


_SHOWN: Final = {
    NOBODY: "anyone",
    ANYBODY: "anyone",
    MANAGEMENT: "users",
    POLICYMAKER: POLICYMAKER,
    MONITORING: MONITORING,
    ADMINISTRATOR: ADMINISTRATOR,
    LOCAL: "`api.sock`",
}


class Ask(NamedTuple):
    """A level, and perhaps also a right to an object."""

    level: str
    operation: str = ""  # "": none; else as access/resources.py has them
    kind: str = ""
    word: str = "name"  # of the path, or the query: what names the object

    def __str__(self) -> str:
        """Who may, for people."""
        if self.operation:
            return f"{self.operation} {self.kind}"
        return _SHOWN[self.level]


OPEN: Final = Ask(NOBODY)  # and nobody is asked who he is
IF_KNOWN: Final = Ask(ANYBODY)  # the answer depends on who he is, if he says so
LOGGED_IN: Final = Ask(MANAGEMENT)  # the handler itself shows what he may see, and no more
SETS_POLICIES: Final = Ask(POLICYMAKER)  # in the virtual hosts that he may enter
SEES_ALL: Final = Ask(MONITORING)
MAY_ALL: Final = Ask(ADMINISTRATOR)
OWN: Final = Ask(LOCAL)


def of(operation: str, kind: str, word: str = "name") -> Ask:
    """A right on the object that this word names."""
    return Ask(MANAGEMENT, operation, kind, word)
