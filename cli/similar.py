"""What is said of a topic or group that does not exist: one of a similar name, if there is one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .show import counted

if TYPE_CHECKING:
    from .site import Site

NAMES_MAX = 2000  # compared letter by letter: 20 ms; of more only names with a like start or end
ALIKE = 2  # letters


@contextmanager
def naming_the_nearest(
    site: "Site", is_queue: Callable[[str], bool] = lambda name: False
) -> Iterator[None]:
    """A context in which UnknownTopic and UnknownGroup name the nearest of the site's names.

    ``is_queue``: whether a queue has the name that was given for a topic.
    """
    from logstore.errors import LogstoreError, UnknownGroup, UnknownTopic

    try:
        yield
    except (UnknownTopic, UnknownGroup) as error:
        what = "topic" if isinstance(error, UnknownTopic) else "group"
        if not error.name:
            raise
        try:
            if what == "topic" and is_queue(error.name):
                reads = f"`logstore queue consume {error.name}` reads it"
                more = f"; {error.name!r} is a queue: {reads}"
            else:
                names = site.topics() if what == "topic" else site.groups()
                more = hint(what, error.name, names)
        except LogstoreError:
            raise error from None
        # Without a name, so that no other site adds to it.
        raise type(error)(str(error) + more) from None


def hint(what: str, name: str, names: Sequence[str]) -> str:
    """A hint to append to "no topic 'flight'"."""
    near = nearest(name, names)
    if near is not None:
        return f" (did you mean {near}?)"
    if not names:
        return f"; there is no {what} yet"
    return f"; none of the {counted(len(names), what)} has a similar name"


def nearest(name: str, names: Sequence[str]) -> str | None:
    """The most similar name, ignoring case; None if none is similar."""
    from difflib import get_close_matches

    wanted = name.casefold()
    folded = {it.casefold(): it for it in names if it != name}
    if len(folded) > NAMES_MAX:
        begins, ends = wanted[:ALIKE], wanted[-ALIKE:]
        alike = [it for it in folded if it.startswith(begins) or it.endswith(ends)]
        folded = {it: folded[it] for it in alike[:NAMES_MAX]}
    close = get_close_matches(wanted, list(folded), n=1, cutoff=0.6)
    return folded[close[0]] if close else None
