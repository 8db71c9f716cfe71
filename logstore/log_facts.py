"""Facts about a line of the program's log: fields for machines, beside the sentence for people."""

import logging
from typing import Any, Final

_NAME: Final = "facts"  # of the attribute of a record


def about(**facts: object) -> dict[str, Any]:
    """For ``extra`` of a logger's methods: texts, numbers, flags, or None."""
    return {_NAME: facts}


def of(record: logging.LogRecord) -> dict[str, object]:
    """What was said about it; often nothing."""
    found: dict[str, object] = getattr(record, _NAME, {})
    return found
