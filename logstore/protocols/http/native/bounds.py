"""Bounds of lists in request bodies: checking longer ones would delay other requests."""

from typing import Annotated, Any, Final

from msgspec import Meta

from logstore.access.resources import OPERATIONS

LITTLE_BYTES: Final = 64 << 10  # of a body that says little: to read a megabyte takes long
OPERATIONS_MAX: Final = len(OPERATIONS) + 1  # and all
SETTINGS_MAX: Final = 200  # more than a topic has
PROPERTIES_MAX: Final = 100  # of a message, of which AMQP knows 14
NUMBERS_MAX: Final = 10_000
NAMES_MAX: Final = 10_000

Operations = Annotated[list[str], Meta(max_length=OPERATIONS_MAX)]
Settings = Annotated[dict[str, str], Meta(max_length=SETTINGS_MAX)]
SettingNames = Annotated[list[str], Meta(max_length=SETTINGS_MAX)]
Properties = Annotated[dict[str, Any], Meta(max_length=PROPERTIES_MAX)]
Numbers = Annotated[list[int], Meta(max_length=NUMBERS_MAX)]
Names = Annotated[list[str], Meta(max_length=NAMES_MAX)]
