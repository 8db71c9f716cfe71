"""AMQP tables as JSON in requests of this API: in the form of definitions."""

from typing import Any

from logstore.broker.queues.tables import arguments_of
from logstore.broker.routing.arguments import NO_ARGUMENTS, Arguments
from logstore.definitions import tables
from logstore.definitions.tables import InvalidTable, arguments, table, value
from logstore.protocols.http.rabbit.words import bad_request

__all__ = ["arguments", "arguments_given", "table", "table_given", "value"]


def arguments_given(given: Any) -> Arguments:  # noqa: ANN401  what JSON holds
    """The arguments in a request. Raises RabbitFault."""
    found = table_given(given)
    return arguments_of(found) if found else NO_ARGUMENTS


def table_given(given: Any) -> dict[str, Any]:  # noqa: ANN401  what JSON holds
    """Raises RabbitFault."""
    try:
        return tables.table_given(given)
    except InvalidTable as error:
        raise bad_request(error.reason) from None
