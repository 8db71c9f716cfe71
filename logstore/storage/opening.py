"""Opening a data directory: finds its kind, and prepares it for reading."""

from collections.abc import Callable
from typing import Literal

from logstore.config import Config
from logstore.errors import NotAStore, ReadOnly, StorageFull, StoreLocked
from logstore.storage.bare import BareDirectory, found_topics
from logstore.storage.directory import LocalDirectory
from logstore.storage.disk import Disk, make_directories, refusal
from logstore.storage.kinds import KINDS, Kinds
from logstore.storage.names import CATALOG, CONFIG, LOCK, WATERMARKS
from logstore.storage.reader import ReaderDirectory
from logstore.storage.writer import WriterDirectory

Kind = Literal["store", "bare", "empty", "absent", "foreign", "file"]


def open_directory(
    path: str,
    mode: Literal["write", "read"],
    config: Config,
    disk: Disk,
    *,
    create: bool,
    clock: Callable[[], int],
    kinds: Kinds = KINDS,
) -> LocalDirectory:
    """``kinds``: the kinds of logs that it may contain. Raises NotAStore, and the errors of its
    class.
    """
    try:
        if mode == "write" and create and not disk.exists(path):
            make_directories(disk, path)
    except OSError as error:
        raise refusal(error, "open the store for writing", error.filename or path) from None
    try:
        with disk.anchored(path):  # what is looked at here is what is opened
            kind = kind_of(path, disk)
            return _open(kind, path, mode, config, disk, create=create, clock=clock, kinds=kinds)
    except OSError as error:
        raise refusal(error, "open the store", error.filename or path) from None


def _open(
    kind: Kind,
    path: str,
    mode: Literal["write", "read"],
    config: Config,
    disk: Disk,
    *,
    create: bool,
    clock: Callable[[], int],
    kinds: Kinds,
) -> LocalDirectory:
    if kind == "store":
        if mode == "write":
            return WriterDirectory(path, config, disk, clock=clock, kinds=kinds)
        return _reader(path, config, disk, clock, kinds)
    if kind == "bare":
        if mode == "write":
            raise NotAStore(
                f"{path}: holds Kafka-format partitions but no catalogue: they can only be read"
            )
        return BareDirectory(path, config, disk)
    if kind == "file":
        raise NotAStore(f"{path}: not a store: it is not a directory; name the data directory")
    if kind == "foreign":
        raise NotAStore(f"{path}: not a store: it holds other files")
    if mode == "read" or not create:
        what = "is empty" if kind == "empty" else "no such directory"
        raise NotAStore(
            f"{path}: not a store: {what}; set --data or LOGSTORE_DATA to an existing store, or"
            " create one with `logstore topic create`"
        )
    return WriterDirectory(path, config, disk, clock=clock, kinds=kinds)


def kind_of(path: str, disk: Disk) -> Kind:
    if not disk.exists(path):
        return "absent"
    try:
        names = set(disk.list(path))
    except NotADirectoryError:
        return "file"
    if CATALOG in names:
        return "store"
    if found_topics(disk, path):
        return "bare"
    # What a first start leaves when it is killed, and what a user may put there before it.
    return "empty" if names <= {LOCK, CONFIG, WATERMARKS, "lost+found"} else "foreign"


def _reader(
    path: str, config: Config, disk: Disk, clock: Callable[[], int], kinds: Kinds
) -> ReaderDirectory:
    """After a crash, the safe offset is known only after recovery, which the first process does."""
    reader = ReaderDirectory(path, config, disk, clock=clock, kinds=kinds)
    if reader.settled or reader.writer() is not None:
        return reader
    try:
        writer = WriterDirectory(path, config, disk, clock=clock, kinds=kinds)
        try:
            while writer.recover_next():
                pass
        finally:
            writer.close()
    except (StoreLocked, ReadOnly, StorageFull):
        # A writer came first, or nobody can write here now: what was published last is safe still.
        return reader
    reader.close()
    return ReaderDirectory(path, config, disk, clock=clock, kinds=kinds)
