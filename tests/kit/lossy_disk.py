"""A disk in memory that loses what was not synced, in any subset and with torn writes.

Each file has bytes that are safe and a list of changes since its last sync; each directory has
names that are safe and changes since its last sync. ``freeze`` takes a picture of all that, and
``survivors`` gives the disks that a power cut at that moment may leave: for each pending change,
it may have reached the platter or not, whatever came before or after it; and of a write, any part
that begins or ends at a border of sectors or pages.
"""

import errno
import itertools
import os
from dataclasses import dataclass

from logstore.storage.disk import Disk

# Survivors per moment, or all if there are fewer. The long run (`make crash`) asks for more.
SURVIVORS_MOST = int(os.environ.get("CRASH_SURVIVORS", "8"))

LONG = SURVIVORS_MOST >= 64

SECTOR_BYTES = 512  # written by a disk as one
PAGE_BYTES = 4096  # written by a kernel as one
BORDERS_MOST = 4  # of one kind in one write, at which it is torn


class Inode:
    """A file."""

    tears = True  # whether a power cut may leave a part of one of its writes

    def __init__(self, safe=b""):
        self.data = bytearray(safe)  # the readable contents: the cache
        self.safe = bytes(safe)  # the platter
        self.pending = []  # dirty in the cache: (position, bytes), or (size, None) for a truncation

    def change(self, position, data):
        _apply(self.data, position, data)
        self.pending.append((position, data))

    def sync(self):
        self.safe, self.pending = bytes(self.synced()), []

    def synced(self):
        content = bytearray(self.safe)
        for position, data in self.pending:
            _apply(content, position, data)
        return content

    def fail_to_sync(self):
        """Fail a sync: the kernel marks the unwritten data clean, and continues to show it."""
        self.pending = []

    def drop_clean(self):
        self.data = self.synced()

    def frozen(self):
        return type(self), self.safe, tuple(self.pending)


class Folder(Inode):
    """A directory; its names are the disk's."""


def _apply(content, position, data):
    if data is None:
        del content[position:]
        content.extend(bytes(position - len(content)))
        return
    content.extend(bytes(max(0, position - len(content))))
    content[position : position + len(data)] = data


def torn(position, data):
    """The possible remains of a write: each as a list of (position, bytes).

    Its beginning up to a boundary, or its end from there on; of a write within a sector, a half.
    """
    end = position + len(data)
    borders = set()
    for unit in (SECTOR_BYTES, PAGE_BYTES):
        inside = range(position // unit * unit + unit, end, unit)
        step = max(1, len(inside) // BORDERS_MOST)
        borders |= {*inside[::step], *inside[-1:]}
    if not borders:
        return [[(position, data[: len(data) // 2])]]
    parts = [[(position, data[: border - position])] for border in sorted(borders)]
    return parts + [[(border, data[border - position :])] for border in sorted(borders)]


def some(moments, random, most):
    """All moments in the long run; otherwise up to ``most``, including the last."""
    if LONG or len(moments) <= most:
        return moments
    chosen = sorted(random.sample(range(len(moments) - 1), most - 1))
    return [*(moments[at] for at in chosen), moments[-1]]


@dataclass(frozen=True)
class Frozen:
    """One moment: safe bytes and pending changes of each inode; safe and pending names."""

    kind: type  # of disk
    base: str | None
    inodes: tuple  # (class, safe, pending)
    names: tuple  # (path, number of its inode, number of the directory or None: always there)
    name_changes: tuple  # of each change: such triples, all of them or none; no inode: removed

    def changes(self):
        """The changes that a power cut may keep or lose, each by (kind, place)."""
        of_files = [
            ("write", number, at)
            for number, (_, _, pending) in enumerate(self.inodes)
            for at in range(len(pending))
        ]
        return of_files + [("name", at, None) for at in range(len(self.name_changes))]

    def disk(self, kept, torn=()):
        """The disk that keeps these changes; ``torn``: parts of writes, by change."""
        torn = dict(torn)
        inodes = []
        for number, (kind, safe, pending) in enumerate(self.inodes):
            content = bytearray(safe)
            for at, (position, data) in enumerate(pending):
                change = "write", number, at
                if change in torn:
                    for where, part in torn[change]:
                        _apply(content, where, part)
                elif change in kept:
                    _apply(content, position, data)
            inodes.append(kind(content))
        entries = {path: (number, folder) for path, number, folder in self.names}
        for at, change in enumerate(self.name_changes):
            for path, number, folder in change if ("name", at, None) in kept else ():
                if number is None:
                    entries.pop(path, None)
                else:
                    entries[path] = number, folder
        disk = self.kind(self.base)
        disk.names = {
            path: inodes[number]
            for path, (number, _) in entries.items()
            if _is_reached(path, entries)
        }
        disk.all_safe()
        return disk

    def killed(self):
        """The disk after the process was killed: everything, still not synced."""
        disk = self.kind(self.base)
        inodes = []
        for kind, safe, pending in self.inodes:
            inode = kind(safe)
            for position, data in pending:
                inode.change(position, data)
            inodes.append(inode)

        def inode(number):
            return None if number is None else inodes[number]

        disk.safe_names = {
            path: (inode(number), inode(folder)) for path, number, folder in self.names
        }
        disk.names = {path: found for path, (found, _) in disk.safe_names.items()}
        for change in self.name_changes:
            disk.apply_names(
                tuple((path, inode(number), inode(folder)) for path, number, folder in change)
            )
        return disk

    def survivors(self, random, most):
        """All subsets if they are few, else ``most`` of them; also with each write torn."""
        changes = self.changes()
        tears = {change: parts for change in changes if (parts := self._torn(change))}
        if 2 ** len(changes) <= most:
            subsets = itertools.chain.from_iterable(
                itertools.combinations(changes, count) for count in range(len(changes) + 1)
            )
            for subset in subsets:
                yield self.disk(frozenset(subset))
        else:
            yield self.disk(frozenset())
            yield self.disk(frozenset(changes))
            for _ in range(most - 2):
                some = [it for it in changes if random.random() < 0.5]
                lost = [it for it in tears if it not in some and random.random() < 0.2]
                yield self.disk(frozenset(some), {it: random.choice(tears[it]) for it in lost})
        for change, parts in tears.items():
            others = frozenset(changes)
            for part in parts:
                yield self.disk(others, {change: part})

    def _torn(self, change):
        what, number, at = change
        if what != "write" or not self.inodes[number][0].tears:
            return None
        position, data = self.inodes[number][2][at]
        return torn(position, data) if data else None


def _is_reached(path, entries):
    """Whether the name's directory is still the one at that path."""
    folder = entries[path][1]
    if folder is None:
        return True
    above = path.rpartition("/")[0]
    return above in entries and entries[above][0] == folder and _is_reached(above, entries)


class LossyDisk(Disk):
    """``base``: the directory that is there at first; None: whatever directory is named is."""

    def __init__(self, base=None):
        self.base = base
        self.names = {}  # path -> Inode
        self.safe_names = {}  # path -> (Inode, the directory's or None)
        self.name_changes = []
        self.opened = {}
        self.next_fd = 1_000_000  # no real one
        self.changed = lambda: None  # called after every change, for a picture
        self.syncs_left = None  # before one that fails; None: none does
        self.has_failed = False

    # Pictures

    def space(self, path):
        return 1 << 50, 1 << 50

    def freeze(self):
        known = {}

        def number(inode):
            return None if inode is None else known.setdefault(id(inode), (len(known), inode))[0]

        names = tuple(
            (path, number(inode), number(folder))
            for path, (inode, folder) in self.safe_names.items()
        )
        changes = tuple(
            tuple((path, number(inode), number(folder)) for path, inode, folder in change)
            for change in self.name_changes
        )
        for inode in self.names.values():
            number(inode)
        inodes = tuple(inode.frozen() for _, inode in known.values())
        return Frozen(type(self), self.base, inodes, names, changes)

    # Names

    def change_names(self, *pairs):
        """Change names in one step, as a journal does."""
        self.apply_names(tuple((path, inode, self._folder(path)) for path, inode in pairs))

    def apply_names(self, change):
        for path, inode, _ in change:
            if inode is None:
                self.names.pop(path, None)
            else:
                self.names[path] = inode
        self.name_changes.append(change)

    def _folder(self, path):
        """The directory of the name; None for one that always exists."""
        above = path.rpartition("/")[0]
        folder = self.names.get(above)
        if folder is None and not self._is_given(above):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return folder

    def _is_given(self, path):
        return self.base is None or f"{self.base}/".startswith(f"{path}/")

    def all_safe(self):
        self.safe_names = {path: (it, self._folder(path)) for path, it in self.names.items()}
        self.name_changes = []

    def _inode(self, path):
        if path not in self.names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self.names[path]

    # As Disk

    def anchor(self, path):
        """Do nothing: no one else renames directories here."""

    def open(self, path, *, write=False, create=False):
        if path not in self.names:
            if not create:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            self.change_names((path, self.new_inode(path)))
            self.changed()
        self.next_fd += 1
        self.opened[self.next_fd] = self.names[path]
        return self.next_fd

    def new_inode(self, path):
        return Inode()

    def close(self, fd):
        del self.opened[fd]

    def read(self, fd, size, position):
        return bytes(self.opened[fd].data[position : position + size])

    def write(self, fd, buffers, position):
        data = b"".join(buffers)
        self.opened[fd].change(position, data)
        self.changed()
        return len(data)

    def truncate(self, fd, size):
        if len(self.opened[fd].data) != size:
            self.opened[fd].change(size, None)
            self.changed()

    def fail_at(self, count):
        """Make one file sync fail, after ``count`` others."""
        self.syncs_left = count

    def _fail(self, inodes):
        if self.syncs_left is None:
            return
        self.syncs_left -= 1
        if self.syncs_left < 0:
            self.syncs_left, self.has_failed = None, True
            for inode in inodes:
                inode.fail_to_sync()
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def sync(self, fd):
        self._fail([self.opened[fd]])
        self.opened[fd].sync()
        self.changed()

    def drop_cached(self, fd, position):
        self.opened[fd].drop_clean()

    def sync_all(self, fd):
        self._fail(self.names.values())
        for inode in self.names.values():
            inode.sync()
        self.all_safe()
        self.changed()

    def sync_directory(self, path):
        """Sync the names in the directory; its own name is its parent's."""
        left = []
        for change in self.name_changes:
            if change[0][0].rpartition("/")[0] != path:
                left.append(change)
                continue
            for name, inode, folder in change:
                if inode is None:
                    self.safe_names.pop(name, None)
                else:
                    self.safe_names[name] = inode, folder
        self.name_changes = left
        self.changed()

    def size(self, path):
        return len(self._inode(path).data)

    def size_of(self, fd):
        return len(self.opened[fd].data)

    def is_odd(self, path):
        return False

    def identity(self, path):
        return 0, id(self._inode(path))

    def identity_of(self, fd):
        return 0, id(self.opened[fd])

    def reserve(self, path, size):
        """Do nothing: there is always room."""

    def mode(self, path):
        return 0o700

    def device(self, path):
        return 0

    def exists(self, path):
        return path in self.names or (self.base is not None and self._is_given(path))

    def list(self, path):
        if self.base is not None and not self.exists(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        split = (name.rpartition("/") for name in self.names)
        return [name for above, _, name in split if above == path]

    def make_directory(self, path):
        if self.exists(path):
            return
        self.make_directory(path.rpartition("/")[0])
        self.change_names((path, Folder()))
        self.changed()

    def remove(self, path):
        self._inode(path)
        self.change_names((path, None))
        self.changed()

    def remove_tree(self, path):
        for name in self.list(path):
            below = f"{path}/{name}"
            if isinstance(self.names[below], Folder):
                self.remove_tree(below)
            else:
                self.remove(below)
        self.remove(path)

    def rename(self, path, other):
        self.change_names((path, None), (other, self._inode(path)))
        self.changed()

    def link(self, path, other):
        self.change_names((other, self._inode(path)))
        self.changed()

    def modified_ms(self, path):
        return 0

    def set_modified(self, path, ms):
        pass
