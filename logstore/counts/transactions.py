"""What becomes of transactions, as they end."""

from dataclasses import dataclass


@dataclass(slots=True)
class TransactionCounts:
    """Since the process began."""

    committed: int = 0
    aborted: int = 0
    abandoned: int = 0  # of those aborted: not by their producer, who took too long, say
