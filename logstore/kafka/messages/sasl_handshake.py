"""SaslHandshake (key 17), versions 0 to 1."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, int16, string


@dataclass(slots=True)
class Request:
    mechanism: str = string()


@dataclass(slots=True)
class Response:
    error_code: int = int16()
    mechanisms: Sequence[str] = array(string)
