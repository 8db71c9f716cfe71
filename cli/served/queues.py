"""The exchanges and queues of a server, as commands need them: asked for through its AMQP door."""

from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Final

from logstore.amqp import methods
from logstore.amqp.fields import data
from logstore.amqp.methods import Method
from logstore.amqp.properties import Properties
from logstore.broker.queues.given import SHORT_BYTES_MAX, name_of, value
from logstore.broker.routing.exchange_types import type_names
from logstore.broker.routing.refusals import NoExchange, NoQueue, UnknownType
from logstore.errors import InvalidName, NoneOfThatName, TopicExists
from logstore.server_socket import ServerSocket

from ..publishing import Encoder
from ..queue_site import (
    BindingFacts,
    ExchangeAbout,
    ExchangeRow,
    Past,
    PastPage,
    Peek,
    QueueAbout,
    QueueRow,
    Replayed,
    Table,
)
from .line import Line
from .messages import ServedConsumer, ServedMessage, ServedSink

PASSIVE: Final = (True, False, False, False)  # whether it exists, with any arguments


def sent(name: str, what: str = "name") -> str:
    """The name in its wire form. Raises InvalidName for a name that would be changed.

    The door drops line ends from names, as RabbitMQ does.
    """
    name_of(name, what)
    if "\r" in name or "\n" in name:
        raise InvalidName(
            f"a {what} with line ends ({name!r}) can't be sent to a server: stop the server, or"
            f" choose another {what}"
        )
    return name


@contextmanager
def _as_refused(missing: NoQueue | NoExchange) -> Iterator[None]:
    """A context that turns the socket's error, which has only a text, into ``missing``."""
    try:
        yield
    except NoneOfThatName as error:
        if str(error) == str(missing):
            raise missing from None
        raise


class ServedQueues:
    """A ``QueueSite``."""

    def __init__(self, open_line: Callable[[], Line], socket: ServerSocket, vhost: str) -> None:
        """``open_line``: opens an AMQP line when one is needed. ``socket``: the directory's."""
        self._open_line = open_line
        self._socket = socket
        self._vhost = vhost

    @cached_property
    def _line(self) -> Line:
        return self._open_line()

    def declare_exchange(
        self, name: str, type_name: str, *, durable: bool, auto_delete: bool, internal: bool,
        arguments: Table,
    ) -> None:  # fmt: skip
        """As QueueSite.declare_exchange."""
        if len(data(type_name)) > SHORT_BYTES_MAX:
            raise UnknownType(type_name, type_names())
        self._ask(
            methods.ExchangeDeclare(
                0, sent(name), type_name, False, durable, auto_delete, internal, False,
                value(arguments),
            ),
            methods.ExchangeDeclareOk,
        )  # fmt: skip

    def declare_queue(
        self, name: str, *, durable: bool, auto_delete: bool, arguments: Table
    ) -> str:
        """As QueueSite.declare_queue. A plain declaration matches any existing queue."""
        if name and durable and not (auto_delete or arguments):
            try:
                return self._counts(name).queue
            except NoQueue:
                pass
        flags = (False, durable, False, auto_delete)
        method = methods.QueueDeclare(0, sent(name), *flags, False, value(arguments))
        answer: methods.QueueDeclareOk = self._ask(method, methods.QueueDeclareOk)
        return answer.queue

    def _exists(self, exchange: str) -> None:
        """Raises NoExchange."""
        if exchange:
            flags = (*PASSIVE, False)
            passive = methods.ExchangeDeclare(0, sent(exchange), "", *flags, {})
            self._ask(passive, methods.ExchangeDeclareOk)

    def _counts(self, queue: str) -> methods.QueueDeclareOk:
        """Raises NoQueue."""
        if not queue:
            raise NoQueue(b"")
        method = methods.QueueDeclare(0, sent(queue), *PASSIVE, False, {})
        found: methods.QueueDeclareOk = self._ask(method, methods.QueueDeclareOk)
        return found

    def ready(self, queue: str) -> int:
        """As QueueSite.ready."""
        return self._counts(queue).message_count

    def check_topic(self, name: str) -> None:
        """As QueueSite.check_topic."""
        self._socket.get("topics", name)

    def bind(self, binding: BindingFacts) -> None:
        """As QueueSite.bind."""
        source, destination, key, arguments = self._binding(binding)
        if binding.kind == "queue":
            method: Method = methods.QueueBind(0, destination, source, key, False, arguments)
            self._ask(method, methods.QueueBindOk)
        else:
            method = methods.ExchangeBind(0, destination, source, key, False, arguments)
            self._ask(method, methods.ExchangeBindOk)

    def unbind(self, binding: BindingFacts) -> None:
        """As QueueSite.unbind."""
        source, destination, key, arguments = self._binding(binding)
        if binding.kind == "queue":
            method: Method = methods.QueueUnbind(0, destination, source, key, arguments)
            self._ask(method, methods.QueueUnbindOk)
        else:
            method = methods.ExchangeUnbind(0, destination, source, key, False, arguments)
            self._ask(method, methods.ExchangeUnbindOk)

    def _binding(self, binding: BindingFacts) -> tuple[str, str, str, Any]:
        if binding.kind == "queue" and not binding.destination:
            raise NoQueue(b"")
        name_of(binding.key, "routing key")
        return (
            sent(binding.source), sent(binding.destination), binding.key, value(binding.arguments),
        )  # fmt: skip

    def delete_exchange(self, name: str, *, if_unused: bool) -> None:
        """As QueueSite.delete_exchange."""
        self._exists(name)  # to delete what is not there is no error to the server
        method = methods.ExchangeDelete(0, sent(name), if_unused, False)
        self._ask(method, methods.ExchangeDeleteOk)

    def delete_queue(self, name: str, *, if_unused: bool, if_empty: bool) -> int:
        """As QueueSite.delete_queue."""
        self._counts(name)  # to delete what is not there is no error to the server
        method = methods.QueueDelete(0, name, if_unused, if_empty, False)
        answer: methods.QueueDeleteOk = self._ask(method, methods.QueueDeleteOk)
        return answer.message_count

    def purge(self, queue: str) -> int:
        """As QueueSite.purge."""
        self._counts(queue)
        answer: methods.QueuePurgeOk = self._ask(
            methods.QueuePurge(0, queue, False), methods.QueuePurgeOk
        )
        return answer.message_count

    def sink(self, exchange: str, properties: dict[str, Any]) -> ServedSink:
        """As QueueSite.sink."""
        self._exists(exchange)
        return ServedSink(self._line, exchange, Encoder(exchange, properties))

    def get(self, queue: str) -> ServedMessage | None:
        """As QueueSite.get."""
        if not queue:
            raise NoQueue(b"")
        answer = self._line.ask(
            methods.BasicGet(0, sent(queue), False), methods.BasicGetOk, methods.BasicGetEmpty
        )
        if isinstance(answer.method, methods.BasicGetEmpty):
            return None
        return ServedMessage(queue, answer, self._line)

    def consume(self, queue: str, prefetch: int) -> ServedConsumer:
        """As QueueSite.consume."""
        if not queue:
            raise NoQueue(b"")
        return ServedConsumer(self._line, sent(queue), prefetch)

    def _ask(self, method: Method, answer: type[Any]) -> Any:  # noqa: ANN401  one of the answer
        return self._line.ask(method, answer).method

    # What AMQP has no words for

    def exchanges(self) -> Sequence[ExchangeRow]:
        """As QueueSite.exchanges, by name."""
        rows = self._socket.rows("exchanges", vhost=self._vhost)
        return [ExchangeRow(it["name"], it["type"], it["bindings"]) for it in rows]

    def queues(self) -> Sequence[QueueRow]:
        """As QueueSite.queues, by name."""
        return [_row(it) for it in self._socket.rows("queues", vhost=self._vhost)]

    def exchange(self, name: str) -> ExchangeAbout:
        """As QueueSite.exchange."""
        with _as_refused(NoExchange(data(name))):
            it = self._socket.get("exchanges", name, vhost=self._vhost)
        return ExchangeAbout(
            it["type"], it["durable"], it["auto_delete"], it["internal"], it["arguments"],
            self._bindings("exchanges", name),
        )  # fmt: skip

    def queue(self, name: str) -> QueueAbout:
        """As QueueSite.queue."""
        with _as_refused(NoQueue(data(name))):
            it = self._socket.get("queues", name, vhost=self._vhost)
        return QueueAbout(
            it["durable"], it["auto_delete"], it["arguments"], _row(it),
            self._bindings("queues", name), it["policy"],
            it["topic"],
        )  # fmt: skip

    def peek(self, queue: str, begin: str | None, most: int) -> Peek:
        """As QueueSite.peek."""
        path = ("queues", queue, "messages")
        given = {"vhost": self._vhost, "from": begin, "limit": most}
        with _as_refused(NoQueue(data(queue))):
            found = self._socket.get(*path, **given)
        items = [ServedPeeked(queue, it, self._socket, self._vhost) for it in found["items"]]
        return Peek(items, found["damaged"], found["next"])

    def past(
        self, queue: str, past: Past, on: str | None, most: int, before_ms: int | None = None
    ) -> PastPage:
        """As QueueSite.past."""
        given = {
            "vhost": self._vhost, "from": past.first, "to": past.upto, "from_ms": past.from_ms,
            "to_ms": past.to_ms, "only": past.only, "order": past.order, "limit": most, "on": on,
            "before_ms": before_ms,
            "header": [f"{name}={value}" for name, value in past.headers],
        }  # fmt: skip
        with _as_refused(NoQueue(data(queue))):
            found = self._socket.get("queues", queue, "history", **given)
        items = [ServedPast(queue, it, self._socket, self._vhost) for it in found["items"]]
        return PastPage(items, found["damaged"], found["on"], found["next"], found["next_ms"])

    def topic(self, name: str) -> bool:
        """As QueueSite.topic."""
        try:
            self._socket.post("topics", value={"name": name})
        except TopicExists:
            return False
        return True

    def replay(
        self,
        queue: str,
        into: str,
        key: str | None,
        past: Past,
        on: str | None,
        before_ms: int | None,
    ) -> Replayed:
        """As QueueSite.replay."""
        given = {
            "into": into, "key": key, "from": past.first, "to": past.upto,
            "from_ms": past.from_ms, "to_ms": past.to_ms, "only": past.only,
            "headers": dict(past.headers), "on": on, "before_ms": before_ms,
        }  # fmt: skip
        path = ("queues", queue, "replay")
        with _as_refused(NoQueue(data(queue))):
            found = self._socket.ask("POST", path, {"vhost": self._vhost}, given)
        return Replayed(
            found["replayed"], found["unrouted"], found["on"], found["next_ms"], found["error"]
        )

    def _bindings(self, what: str, name: str) -> list[BindingFacts]:
        return [
            BindingFacts(it["source"], it["destination"], it["kind"], it["key"], it["arguments"])
            for it in self._socket.rows(what, name, "bindings", vhost=self._vhost)
        ]


class ServedPeeked:
    """As ``Peeked``: what was cut off in the list is asked for when it is needed."""

    FROM = "messages"  # what the list is of

    def __init__(self, queue: str, found: Any, socket: ServerSocket, vhost: str) -> None:  # noqa: ANN401
        self.queue = queue
        self.position, self.state = str(found["position"]), str(found["state"])
        self.redelivered = bool(found.get("redelivered", found["delivery_count"]))
        self.exchange, self.key = str(found["exchange"]), str(found["key"])
        self.time_ms = int(found["time_ms"])
        self._found = found
        self._socket = socket
        self._vhost = vhost

    @cached_property
    def body(self) -> bytes:
        found = self._found["body"]
        if self._found["truncated"]:
            path = ("queues", self.queue, self.FROM, self.position, "body")
            return self._socket.content(*path, vhost=self._vhost)
        return data(found["text"]) if "text" in found else b64decode(found["base64"])

    @cached_property
    def properties(self) -> Properties:
        given = self._found["properties"]
        if self._found["truncated"]:
            path = ("queues", self.queue, self.FROM, self.position)
            given = self._socket.get(*path, vhost=self._vhost)["properties"]
        return Properties(**given)

    @property
    def headers(self) -> dict[str, Any]:
        return self.properties.headers or {}


class ServedPast(ServedPeeked):
    """One of a queue's past."""

    FROM = "history"


def _row(it: Any) -> QueueRow:  # noqa: ANN401  what JSON holds
    return QueueRow(it["name"], it["ready"], it["unacked"], it["consumers"])
