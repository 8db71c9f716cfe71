"""What is said of a queue or exchange that does not exist: what has the name, or a similar one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from .similar import nearest

if TYPE_CHECKING:
    from .queue_site import QueueSite


class Instead(NamedTuple):
    """What to do where a name is that of another kind of object; ``{}`` stands for the name."""

    queue: str = "`logstore queue describe {}` shows it"  # and was taken for an exchange's
    topic: str = "`logstore consume {}` reads it"  # and was taken for a queue's, as below
    exchange: str = "a queue that is bound to it receives its messages"


GENERAL: Final = Instead()
# How lists of commands, and RabbitMQ's tools, call the exchange that has no name.
DEFAULT: Final = ("(default)", "(AMQP default)", "amq.default")


@contextmanager
def naming_what_exists(site: "QueueSite", instead: Instead) -> Iterator[None]:
    """A context in which NoQueue and NoExchange name an object of that name, or the nearest
    name.
    """
    from logstore.amqp.fields import text
    from logstore.broker.routing.refusals import NoExchange, NoQueue
    from logstore.errors import LogstoreError, Refused

    try:
        yield
    except (NoExchange, NoQueue) as error:
        try:
            if isinstance(error, NoQueue):
                said = _of_no_queue(site, text(error.queue), instead)
            else:
                said = _of_no_exchange(site, text(error.exchange), instead)
        except LogstoreError:
            raise error from None
        if said is None:
            raise
        raise Refused(said) from None


def _of_no_queue(site: "QueueSite", name: str, instead: Instead) -> str | None:
    if _is_topic(site, name):
        return f"{name!r} is a topic, not a queue; {instead.topic.format(name)}"
    if name and any(it.name == name for it in site.exchanges()):
        return f"{name!r} is an exchange, not a queue; {instead.exchange.format(name)}"
    near = nearest(name, [it.name for it in site.queues()])
    return None if near is None else f"no queue {name!r} (did you mean {near}?)"


def _of_no_exchange(site: "QueueSite", name: str, instead: Instead) -> str | None:
    if name in DEFAULT:
        return f"no exchange {name!r}; the name of the default exchange is empty: ''"
    if any(it.name == name for it in site.queues()):
        return f"{name!r} is a queue, not an exchange; {instead.queue.format(name)}"
    near = nearest(name, [it.name for it in site.exchanges()])
    return None if near is None else f"no exchange {name!r} (did you mean {near}?)"


def _is_topic(site: "QueueSite", name: str) -> bool:
    from logstore.errors import InvalidName, NoneOfThatName

    try:
        site.check_topic(name)
    except (NoneOfThatName, InvalidName):
        return False
    return True
