"""Settings of groups, in LMDB beside the catalogue.

group_settings   group     JSON: names and values of the group's own settings
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from logstore.errors import CorruptStore
from logstore.storage.environment import Environment

GROUP_SETTINGS: Final = b"group_settings"
TABLES: Final = (GROUP_SETTINGS,)

_decode = msgspec.json.Decoder(dict[str, str]).decode


def load(environment: Environment) -> tuple[dict[str, dict[str, str]], list[CorruptStore]]:
    """The settings by group; and errors of damaged rows, which stay where they are."""
    found: dict[str, dict[str, str]] = {}
    damaged: list[CorruptStore] = []
    if not environment.has(GROUP_SETTINGS):  # else a look would make the table
        return found, damaged
    for key, value in environment.items(GROUP_SETTINGS):
        try:
            found[key.decode()] = _decode(value)
        except (ValueError, RecursionError) as error:
            damaged.append(
                CorruptStore(
                    f"{environment.path}: the settings of group {key!r} are damaged: {error}"
                )
            )
    return found, damaged


def keep(environment: Environment, group: str, given: Mapping[str, str]) -> None:
    """Replace the group's settings; durable on return. Raises ReadOnly, StorageFull, Failed."""
    if given:
        environment.check_room()
    value = msgspec.json.encode(given) if given else None
    environment.commit([(GROUP_SETTINGS, group.encode(), value)])
