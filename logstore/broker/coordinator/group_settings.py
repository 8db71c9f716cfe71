"""The settings of groups: their own, and the values in effect.

Look-ups may be made from any thread; changes wait for the disk. As in Kafka, settings exist
independently of the group, and stay when it is deleted.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from logstore.config import Chosen, Config, check_group_settings, group_setting
from logstore.errors import InvalidName, LogstoreError, Refused
from logstore.names import check_group
from logstore.printable import printable
from logstore.settings import GroupSettings

GROUPS_MAX: Final = 10_000  # that have settings of their own; each takes about 1 KiB

Given = Mapping[str, str]

_log = logging.getLogger("logstore.groups")


def _kept_nowhere(_group: str, _given: Given) -> None:
    """Store nothing: these groups end with their process."""


def _check_name(group: str) -> None:
    try:
        check_group(group)
    except InvalidName as error:  # to clients that is an error about a topic
        raise Refused(str(error)) from None


class GroupSettingsTable:
    """The settings of every group."""

    def __init__(
        self,
        config: Config,
        kept: Mapping[str, Given] | None = None,
        keep: Callable[[str, Given], None] = _kept_nowhere,
    ) -> None:
        """``kept``: the stored settings; illegal ones are logged and left out.

        ``keep(group, given)`` stores the settings durably; empty ones are removed.
        """
        self._config = config
        self._keep = keep
        self._lock = threading.Lock()  # for changes
        self._default = config.group({})
        self._given: dict[str, Given] = {}
        self._effective: dict[str, GroupSettings] = {}
        for group, given in (kept or {}).items():
            try:
                self._effective[group] = config.group(check_group_settings(given))
                self._given[group] = dict(given)
            except LogstoreError as error:
                _log.warning("group %s has its settings by default: %s", printable(group), error)

    def of(self, group: str) -> GroupSettings:
        """Return the effective settings of the group."""
        return self._effective.get(group, self._default)

    def names(self) -> list[str]:
        """Return the groups that have settings of their own, sorted."""
        return sorted(self._given)

    def given(self, group: str) -> Given:
        """Return the group's own settings."""
        return self._given.get(group, {})

    def describe(self, group: str) -> list[Chosen]:
        """Return every setting of the group with its source. Raises Refused."""
        _check_name(group)
        return self._config.describe_group(self.given(group))

    def check(self, group: str, settings: Given, reset: Sequence[str]) -> None:
        """Check a change. Raises the errors of ``alter``."""
        _check_name(group)
        check_group_settings(settings)
        for name in reset:
            group_setting(name)
        if settings and group not in self._given and len(self._given) >= GROUPS_MAX:
            raise Refused(
                f"{GROUPS_MAX} groups have their own settings, which is the maximum: reset those"
                " of other groups"
            )

    def alter(self, group: str, settings: Given, reset: Sequence[str]) -> None:
        """Change the group's own settings, durably. Raises UnknownSetting,
        InvalidSetting, Refused.
        """
        with self._lock:
            self.check(group, settings, reset)
            before = self.given(group)
            given = {name: it for name, it in {**before, **settings}.items() if name not in reset}
            effective = self._config.group(given)
            if given == before:
                return
            self._keep(group, given)
            if given:
                self._effective[group], self._given[group] = effective, given
            else:
                del self._effective[group], self._given[group]
