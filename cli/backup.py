"""``logstore backup`` and ``restore``: a consistent copy of a store, and a store made of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .ends import put, tell
from .options import HERE, UPKEEP, Data, Json
from .show import as_json, counted, number, size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from logstore.upkeep.backup import Copied


def backup(
    directory: Annotated[Path, typer.Argument(metavar="DIR", show_default=False)],
    json_: Json = False,
    data: Data = HERE,
) -> None:
    """Copy a store into a new directory.

    The copy is consistent, even while producers write.

    $ logstore backup /mnt/backup/monday
    """
    data.check_own(*UPKEEP)
    with data.open("read") as store:
        _report("backed up", store.backup(directory), str(data), str(directory), json_=json_)


def restore(
    backup_: Annotated[Path, typer.Argument(metavar="BACKUP", show_default=False)],
    json_: Json = False,
    data: Data = HERE,
) -> None:
    """Create a data directory from a backup.

    Every file is checked. The data directory must not exist yet.

    $ logstore restore /mnt/backup/monday --data logstore-data
    """
    from logstore.storage.disk import Disk
    from logstore.upkeep.backup import restore as restored

    target = str(data.path.absolute())
    found = restored(str(backup_.absolute()), target, Disk())
    _report("restored", found, str(backup_), str(data), json_=json_)


def _report(did: str, copied: "Iterable[Copied]", source: str, target: str, *, json_: bool) -> None:
    files = list(copied)
    bytes_, linked = sum(it.bytes for it in files), sum(it.linked for it in files)
    if json_:
        put(as_json({"files": len(files), "bytes": bytes_, "linked": linked, "target": target}))
        return
    links = f", {number(linked)} of them linked" if linked else ""
    tell(f"{did} {source} to {target}: {counted(len(files), 'file')}{links}, {size(bytes_)}")
