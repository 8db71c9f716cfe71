"""The settings of groups: connects the model with the catalogue."""

import logging
from functools import partial
from typing import Final

from logstore.broker.coordinator.group_settings import GroupSettingsTable
from logstore.config import Config
from logstore.storage import group_settings
from logstore.storage.environment import Environment

log: Final = logging.getLogger("logstore.groups")


def open_group_settings(config: Config, environment: Environment) -> GroupSettingsTable:
    """What groups were told, which is kept in this environment."""
    kept, damaged = group_settings.load(environment)
    for error in damaged:
        log.warning("a group has its settings by default: %s", error)
    return GroupSettingsTable(config, kept, partial(group_settings.keep, environment))
