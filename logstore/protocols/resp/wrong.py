"""An error reply of a command: its code and its text, in Redis's words."""

from typing import Final

from logstore.errors import LogstoreError

TOO_LONG: Final = "string exceeds maximum allowed size (resp.max.value.size)"

NOT_OWNED: Final = "NOTOWNED"  # code of the error of a database that another node serves


class Wrong(LogstoreError):
    """The command cannot be executed; nothing was changed."""

    def __init__(self, text: str | bytes, code: str = "ERR") -> None:
        super().__init__(f"{code} {text!r}")
        self.text = text
        self.code = code


def wrong_type() -> Wrong:
    """The error for a key whose value has another type than the command expects."""
    return Wrong("Operation against a key holding the wrong kind of value", "WRONGTYPE")
