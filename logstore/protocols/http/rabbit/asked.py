"""The body of a request: a JSON object whose values are often texts.

``durable="true"`` equals ``durable=true``, because rabbitmqadmin sends only texts. Unused members
are ignored, because RabbitMQ's own page repeats the path's names in the body.
"""

from math import isfinite
from typing import Any, Final

from logstore.http.bodies import decode
from logstore.protocols.http.rabbit.words import bad_request

SHOWN_CHARACTERS: Final = 60  # of a value that is refused
NUMBER_CHARACTERS: Final = 18
_FLAGS: Final = {True: True, False: False, "true": True, "false": False, "": False}


class Asked:
    """One body."""

    def __init__(self, given: bytes) -> None:
        """An empty body asks for nothing. Raises RabbitFault."""
        self._found: dict[str, Any] = {}
        if not given.strip():
            return
        try:
            found = decode(given)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise bad_request("not_json")
        self._found = found

    @property
    def members(self) -> dict[str, Any]:
        """All members of the object."""
        return self._found

    def __contains__(self, name: str) -> bool:
        return self._found.get(name) is not None

    def need(self, *names: str) -> None:
        """Raises RabbitFault if a member is missing."""
        missing = [name for name in names if name not in self]
        if missing:
            raise bad_request(f"[{','.join(f'{{key_missing,{it}}}' for it in missing)}]")

    def get(self, name: str) -> Any:  # noqa: ANN401  what JSON holds
        return self._found.get(name)

    def flag(self, name: str) -> bool:
        """A boolean; False if it is absent. Raises RabbitFault."""
        given = self._found.get(name)
        if given is None:
            return False
        found = _FLAGS.get(given) if isinstance(given, bool | str) else None
        if found is None:
            raise bad_request(["not_boolean", _shown(given)])
        return found

    def number(self, name: str) -> int:
        """Raises RabbitFault."""
        given = self._found.get(name)
        if isinstance(given, int | float) and not isinstance(given, bool) and isfinite(given):
            return int(given)
        if isinstance(given, str) and _is_number(given.removeprefix("-")):
            return int(given)
        raise bad_request(["not_integer", _shown(given)])

    def text(self, name: str, default: str = "") -> str:
        """Raises RabbitFault."""
        given = self._found.get(name)
        if given is None:
            return default
        if not isinstance(given, str):
            raise bad_request(["not_string", name])
        return given


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= NUMBER_CHARACTERS


def _shown(given: Any) -> Any:  # noqa: ANN401
    return given if isinstance(given, bool | int) else str(given)[:SHOWN_CHARACTERS]
