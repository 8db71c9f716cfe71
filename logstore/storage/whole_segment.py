"""A whole segment, written at once: a copy, or a replacement of others.

Sealed segments do not change, so any process may write their replacement, under a name that readers
ignore (``names.cleaned_stem``), until the owner of the log renames it (``DiskLog.swap``).
"""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from logstore.records.batch import Batch
from logstore.records.latest import latest
from logstore.storage.disk import Buffer, Disk
from logstore.storage.files import OpenFiles
from logstore.storage.index import Index
from logstore.storage.names import INDEX, LOG, TIMEINDEX, TXNINDEX, is_cleaned

ENDINGS: Final = (LOG, INDEX, TIMEINDEX)
_WRITE_BYTES: Final = 1 << 20
_WRITE_BUFFERS_MAX: Final = 1000
assert os.sysconf("SC_IOV_MAX") >= _WRITE_BUFFERS_MAX
# Synced in slices: one sync of a whole segment would hold up those of the logs in use.
_SYNC_BYTES: Final = 8 << 20


def write_segment(
    disk: Disk,
    stem: str,
    base_offset: int,
    interval_bytes: int,
    batches: Iterable[Batch],
    spend: Callable[[int], None] = lambda size: None,
) -> None:
    """Write and sync the three files of a segment with these batches; on failure, none remain.

    ``spend(bytes)`` is called with the bytes written, and may wait. Raises OSError, and the errors
    of ``batches``.
    """
    files = OpenFiles(disk, 8, write=True)
    try:
        index = Index(base_offset, interval_bytes)
        _write_log(files, stem + LOG, index, batches, spend)
        index.note_largest()
        index.replace(files, stem)
        for ending in ENDINGS:
            files.sync(stem + ending)
    except BaseException:
        remove_segment(disk, stem)
        raise
    finally:
        files.close()


def remove_segment(disk: Disk, stem: str) -> None:
    """Remove its files. Files that cannot be removed have no effect."""
    for ending in (*ENDINGS, TXNINDEX):
        with suppress(OSError):
            disk.remove(stem + ending)


def sweep(disk: Disk, directory: str) -> None:
    """Remove the remains of interrupted rewrites. Raises OSError."""
    for name in disk.list(directory):
        if is_cleaned(name):
            disk.remove(f"{directory}/{name}")


def _write_log(
    files: OpenFiles,
    path: str,
    index: Index,
    batches: Iterable[Batch],
    spend: Callable[[int], None],
) -> None:
    with files.use(path, create=True) as fd:  # there even when no batch is left
        files.disk.truncate(fd, 0)
        position = unsynced = size = 0
        buffers: list[Buffer] = []
        for batch in batches:
            index.note(position + size, batch.size, batch.last_offset, latest(batch))
            buffers.append(batch.data)
            size += batch.size
            if size < _WRITE_BYTES and len(buffers) < _WRITE_BUFFERS_MAX:
                continue
            files.write(path, buffers, position)
            spend(size)
            position, unsynced = position + size, unsynced + size
            buffers, size = [], 0
            if unsynced >= _SYNC_BYTES:
                files.sync(path)
                unsynced = 0
        if buffers:
            files.write(path, buffers, position)
            spend(size)
