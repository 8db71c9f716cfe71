"""What a person at a terminal is told of a group that had nothing new, or did not take --from."""

from collections.abc import Sequence
from shlex import quote
from typing import TYPE_CHECKING

from .ends import say
from .progress import is_watched

if TYPE_CHECKING:
    from .site import Site


class GroupNote:
    """Of one run of ``consume --group``."""

    def __init__(self, group: str, topics: Sequence[str], from_: str | None) -> None:
        """``from_``: the value of --from; None if it was not given."""
        self._group = group
        self._topics = topics
        self._from = from_
        self._has_committed = False

    def look(self, site: "Site") -> None:
        """Find out, before anything is consumed, whether the group has committed offsets here."""
        from logstore.errors import UnknownGroup

        try:
            found = site.group(self._group).describe()
        except UnknownGroup:
            return
        self._has_committed = any(
            it.topic in self._topics and it.committed is not None for it in found
        )

    def tell(self, printed: int) -> None:
        """``printed``: the number of printed records."""
        if not self._has_committed:
            if not printed:
                say(f"no records for group {self._group} yet", "info")
            return
        reset = f"logstore group reset-offsets {quote(self._group)} --to"
        if self._from is not None:
            say(
                f"--from {self._from} was ignored: group {self._group} continues where it has"
                f" committed; `{reset} {self._from}` moves it",
                "info",
            )
        elif not printed:
            say(
                f"nothing new for group {self._group}; `{reset} earliest` has it read everything"
                " again",
                "info",
            )


def note_for(group: str | None, topics: Sequence[str], from_: str | None) -> GroupNote | None:
    """The note; None without a group or without a terminal."""
    return None if group is None or not is_watched() else GroupNote(group, topics, from_)
