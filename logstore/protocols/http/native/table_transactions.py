"""Routes of transactions."""

from typing import Final

from logstore.access.resources import DESCRIBE, TRANSACTIONAL_ID
from logstore.http.asks import LOGGED_IN, MAY_ALL, of
from logstore.http.routes import Route
from logstore.protocols.http.listing import LIST_QUERY
from logstore.protocols.http.native import transactions
from logstore.protocols.http.opened import Handler

_ID: Final = "/api/v1/transactions/{id}"

ROUTES: Final[tuple[Route[Handler], ...]] = (
    Route(
        "GET", "/api/v1/transactions", transactions.list_,
        "List transactional ids of Kafka's producers.", LOGGED_IN, ("open", *LIST_QUERY),
    ),
    Route(
        "GET", _ID, transactions.one,
        "One transactional id, and the partitions of its transaction.",
        of(DESCRIBE, TRANSACTIONAL_ID, "id"),
    ),
    Route(
        "POST", f"{_ID}/abort", transactions.aborted,
        "Abort an open transaction, and fence its producer.", MAY_ALL,
    ),
)  # fmt: skip
