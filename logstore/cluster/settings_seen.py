"""The settings of used topics as brokers state them: requested at first use, and refreshed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

from logstore.cluster import topic_settings
from logstore.cluster.admin import Admin
from logstore.cluster.brokers import Around
from logstore.cluster.topic_settings import Told
from logstore.errors import LogstoreError

AGAIN_S: Final = 30.0
TOPICS_MAX: Final = 50  # of one request


class SettingsSeen:
    """The settings of one cluster's topics. Used in one thread, except ``told``."""

    def __init__(
        self, admin: Admin, around: Around, changed: Callable[[str, Sequence[Told], bool], object]
    ) -> None:
        """``changed`` is called with a topic's settings, and whether somebody altered them."""
        self._admin = admin
        self._around = around
        self._changed = changed
        self._told: dict[str, Sequence[Told]] = {}
        self._doubted: set[str] = set()
        self._looking: list[set[str]] = []  # names that are asked for, of each request
        self._over = False
        self._look_later()

    def told(self, name: str) -> Sequence[Told]:
        """The settings; empty for a topic that was never used."""
        return self._told.get(name, ())

    def when_known(self, name: str, then: Callable[[], object]) -> None:
        """``then`` is called once the settings are known, or cannot be obtained."""
        if name in self._told and name not in self._doubted:
            then()
        else:
            self.look([name], then)

    def doubt(self, name: str) -> None:
        """The settings may have changed: request them again at the next need."""
        if name in self._told:
            self._doubted.add(name)

    def look(self, names: Sequence[str], then: Callable[[], object], *, news: bool = True) -> None:
        """Request the settings of these now; ``news``: the caller did not alter them."""
        wanted = set(names)
        self._looking.append(wanted)

        def answered(found: Mapping[str, Sequence[Told] | LogstoreError] | LogstoreError) -> None:
            self._looking = [it for it in self._looking if it is not wanted]
            # Where nothing is told, what is known stays: brokers know the rules themselves.
            if not isinstance(found, LogstoreError):
                for name, told in found.items():
                    if name in wanted and not isinstance(told, LogstoreError):
                        self._take(name, sorted(told), news)
            then()

        self._admin.settings(names, topic_settings.ASKED, answered)

    def _take(self, name: str, told: Sequence[Told], news: bool) -> None:
        known = self._told.get(name)
        self._told[name] = told
        self._doubted.discard(name)
        if known != told:
            self._changed(name, told, news and known is not None)

    def _look_later(self) -> None:
        self._around.call_at(self._around.now() + AGAIN_S, self._look_again)

    def _look_again(self) -> None:
        if not self._over:
            self._look_at_some(list(self._told))

    def _look_at_some(self, names: Sequence[str]) -> None:
        if names:
            some, rest = names[:TOPICS_MAX], names[TOPICS_MAX:]
            self.look(some, partial(self._look_at_some, rest))
        else:
            self._look_later()

    def forget(self, names: Iterable[str]) -> None:
        """These topics are no longer used."""
        for name in names:
            self._told.pop(name, None)
            self._doubted.discard(name)
            for wanted in self._looking:
                wanted.discard(name)

    def close(self) -> None:
        """Send no more requests."""
        self._over = True
