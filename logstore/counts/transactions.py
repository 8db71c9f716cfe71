"""Counters of ended transactions."""

from dataclasses import dataclass


@dataclass(slots=True)
class TransactionCounts:
    """The counters since the server started."""

    committed: int = 0
    aborted: int = 0
    abandoned: int = 0  # aborted, but not by their producer: after a timeout, for example
