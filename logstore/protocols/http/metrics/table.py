"""Routes of metrics."""

from typing import Final

from logstore.http.asks import SEES_ALL
from logstore.http.routes import Route
from logstore.protocols.http.metrics import scrape
from logstore.protocols.http.metrics.exposition import TEXT
from logstore.protocols.http.opened import Handler

_DETAILED: Final = ("family", "vhost")

ROUTES: Final[tuple[Route[Handler], ...]] = (
    Route(
        "GET", "/metrics", scrape.aggregated, "Metrics, for Prometheus.", SEES_ALL,
        kind=TEXT.content_type,
    ),
    Route(
        "GET", "/metrics/per-object", scrape.per_object,
        "Metrics of each queue and each partition separately.", SEES_ALL, kind=TEXT.content_type,
    ),
    Route(
        "GET", "/metrics/detailed", scrape.detailed,
        "Chosen families of metrics, by queue, for chosen virtual hosts or all.",
        SEES_ALL, _DETAILED, kind=TEXT.content_type, lists=_DETAILED,
    ),
)  # fmt: skip
