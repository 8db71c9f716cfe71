"""Directories of deleted topics: removed, or kept on a list until they can be.

A topic is deleted by the commit that dooms its directories (``Catalog.remove``). If a directory
can't be removed (a link, another user's, a busy mount point, an immutable file), nothing else is
affected: it stays in the ``doomed`` table, with the reason, and its removal is tried again at every
opening, at each round of upkeep, and before a topic of that name is created again.
"""

import errno
import logging
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from logstore.errors import Failed, LogstoreError, Refused
from logstore.storage.catalog import Catalog
from logstore.storage.disk import Disk
from logstore.storage.files import OpenFiles
from logstore.storage.kinds import parse_directory

_log = logging.getLogger("logstore.storage")


@dataclass(frozen=True, slots=True)
class Leftover:
    """A directory of a deleted topic that could not be removed."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: left of a deleted topic: {self.reason}"


def known_leftovers(catalog: Catalog, path: str) -> list[Leftover]:
    """The leftovers that a writer has tried to remove. ``path``: of the data directory."""
    reasons = catalog.doomed_reasons()
    return [Leftover(os.path.join(path, it), reason) for it, reason in reasons.items() if reason]


class Leftovers:
    """Removes such directories, in the process that writes."""

    def __init__(
        self,
        disk: Disk,
        path: str,
        catalog: Catalog,
        files: OpenFiles,
        discard: Callable[[str], None],
    ) -> None:
        """``path``: of the data directory. ``discard(name)``: called when nothing writes there any
        more.
        """
        self._disk = disk
        self._path = path
        self._catalog = catalog
        self._files = files
        self._discard = discard
        self._told: dict[str, str] = {}  # why what is left could not be removed, by name

    def known(self) -> list[Leftover]:
        """The directories that could not be removed so far."""
        found = {it.path: it for it in known_leftovers(self._catalog, self._path)}
        for name, reason in self._told.items():  # also where the catalogue could not keep it
            path = os.path.join(self._path, name)
            found.setdefault(path, Leftover(path, reason))
        return list(found.values())

    def bury(self) -> None:
        """Remove as much as possible. The rest is reported only by ``known`` and the log."""
        try:
            self._bury(self._catalog.doomed())
        except LogstoreError as error:
            # They stay doomed, and are looked for again.
            _log.warning("directories of deleted topics are still listed: %s", error)

    def make_way(self, names: Collection[str]) -> None:
        """On return, nothing of a deleted topic exists, or is left to be removed, under these
        names.

        Raises Refused if something cannot be removed, StorageFull, Failed.
        """
        doomed = [name for name in self._catalog.doomed() if name in names]
        self._bury(doomed)
        for name in doomed:
            if name in self._told:
                raise Refused(
                    f"{Leftover(os.path.join(self._path, name), self._told[name])}; nothing can"
                    " be created in its place until it is removed"
                )

    def _bury(self, doomed: Collection[str]) -> None:
        """Raises StorageFull, Failed if the list cannot be written."""
        reasons = {name: self._remove(name) for name in doomed}
        gone = [name for name, reason in reasons.items() if not reason]
        if gone:
            try:
                for folder in {os.path.dirname(os.path.join(self._path, name)) for name in gone}:
                    self._disk.sync_directory(folder)
            except OSError as error:
                reasons |= {name: _sentence(error, self._path) for name in gone}
                gone = []
        kept = {name: reason for name, reason in reasons.items() if reason}
        known = self._catalog.doomed_reasons()
        self._tell(gone, kept, known)
        changed = {name: why for name, why in kept.items() if known.get(name, why) != why}
        if gone or changed:
            self._catalog.buried(gone, changed)

    def _tell(
        self, gone: Collection[str], kept: Mapping[str, str], known: Mapping[str, str]
    ) -> None:
        """Log each reason once, whichever process found it."""
        for name in gone:
            self._told.pop(name, None)
        for name, reason in kept.items():
            if reason not in (self._told.get(name), known.get(name)):
                leftover = Leftover(os.path.join(self._path, name), reason)
                _log.warning("%s", Failed(str(leftover)))  # an error's text can break no line
            self._told[name] = reason

    def _remove(self, name: str) -> str:
        """The reason why it was not removed; empty if it was."""
        path = os.path.join(self._path, name)
        if self._is_somebodys(name):
            return (
                "the catalogue lists it as such, which it is not: nothing was removed; the "
                "catalogue is damaged, restore it from a backup"
            )
        self._discard(name)  # LMDB may have told of a failure, and committed all the same
        try:
            self._disk.remove_tree(path)
        except FileNotFoundError as error:
            return "" if error.filename in (None, path) else _sentence(error, path)
        except OSError as error:
            return _sentence(error, path)
        finally:
            # After: a reader may have opened one until then. And where not all could be removed:
            # the next topic of that name must not write into a file that is gone.
            self._files.forget_below(path)
        return ""

    def _is_somebodys(self, name: str) -> bool:
        """Whether the name belongs to existing logs: a damaged row must not remove these."""
        parsed = parse_directory(self._catalog.kinds, name)
        if parsed is None:
            return True
        kind, logs, partition = parsed
        try:
            entry = self._catalog.entry(kind.name, logs)
        except LogstoreError:
            return True  # what its entry says can't be read
        return entry is not None and partition < entry.partitions


def _sentence(error: OSError, path: str) -> str:
    """The reason, with the file if it is not the directory itself; and what to do."""
    where = "" if error.filename in (None, path) else f"{error.filename}: "
    if error.errno == errno.ELOOP:
        return f"{where}is a symbolic link, which is not followed: remove it and what it leads to"
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"{where}can't be removed: {reason}: remove it, or make it removable"
