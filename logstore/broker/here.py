"""Reading by who may wait: what has to be fetched first is waited for."""

import threading
from collections.abc import Sequence
from typing import Final

from logstore.log import Log
from logstore.records.batch import Batch

NEWS_S: Final = 1.0  # between looks whether a log that has no news has failed


def read_when_here(source: Log, at: int, bytes_max: int) -> Sequence[Batch]:
    """As ``Log.read``, waiting for what has to be fetched. Also raises LogFailed, Damaged."""
    news = threading.Event()
    stop = source.watch(news.set)
    try:
        while True:
            news.clear()
            batches = source.read(at, bytes_max)
            if batches or at >= source.safe:
                return batches
            source.check_failure()
            news.wait(NEWS_S)
    finally:
        stop()
