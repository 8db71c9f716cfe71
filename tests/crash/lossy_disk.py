"""A disk in memory that loses what was not synced, in any subset and with torn writes.

Each file has bytes that are safe and a list of changes since its last sync; each directory has
names that are safe and changes since its last sync. ``freeze`` takes a picture of all that, and
``survivors`` gives the disks that a power cut at that moment may leave: for each pending change,
it may have reached the platter or not, whatever came before or after it.
"""

import errno
import itertools
import os
from dataclasses import dataclass

from logstore.storage.disk import Disk

# Of each moment; all of them where there are fewer. The long run (`make crash`) asks for more.
SURVIVORS_MOST = int(os.environ.get("CRASH_SURVIVORS", "64"))


class Inode:
    def __init__(self, safe=b""):
        self.data = bytearray(safe)  # what is read: the cache
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
        """The kernel calls what it could not write clean, and goes on showing it."""
        self.pending = []

    def drop_clean(self):
        self.data = self.synced()


def _apply(content, position, data):
    if data is None:
        del content[position:]
        content.extend(bytes(position - len(content)))
        return
    content.extend(bytes(max(0, position - len(content))))
    content[position : position + len(data)] = data


@dataclass(frozen=True)
class Frozen:
    """One moment: safe bytes and pending changes of each inode; safe and pending names."""

    inodes: tuple  # (safe, pending)
    names: tuple  # (path, number of the inode)
    name_changes: tuple  # of each change: (path, number or None) pairs, all of them or none

    def changes(self):
        """What a power cut may keep or lose, each by (kind, where)."""
        of_files = [
            ("write", number, at)
            for number, (_, pending) in enumerate(self.inodes)
            for at in range(len(pending))
        ]
        return of_files + [("name", at, None) for at in range(len(self.name_changes))]

    def disk(self, kept, torn=None):
        """What is left when these changes were kept; of ``torn``, the first half."""
        disk = LossyDisk()
        inodes = []
        for number, (safe, pending) in enumerate(self.inodes):
            content = bytearray(safe)
            for at, (position, data) in enumerate(pending):
                change = "write", number, at
                if change == torn and data:
                    _apply(content, position, data[: len(data) // 2])
                elif change in kept:
                    _apply(content, position, data)
            inodes.append(Inode(content))
        names = dict(self.names)
        for at, change in enumerate(self.name_changes):
            for path, number in change if ("name", at, None) in kept else ():
                if number is None:
                    names.pop(path, None)
                else:
                    names[path] = number
        disk.names = {path: inodes[number] for path, number in names.items()}
        disk.safe_names = dict(disk.names)
        return disk

    def killed(self):
        """What the next process sees when only this one died: everything, still not synced."""
        disk = LossyDisk()
        inodes = []
        for safe, pending in self.inodes:
            inode = Inode(safe)
            for position, data in pending:
                inode.change(position, data)
            inodes.append(inode)
        disk.safe_names = {path: inodes[number] for path, number in self.names}
        disk.names = dict(disk.safe_names)
        for change in self.name_changes:
            disk.change_names(
                *((path, None if number is None else inodes[number]) for path, number in change)
            )
        return disk

    def survivors(self, random, most):
        """All subsets where they are few, else ``most`` of them; and each write torn in half."""
        changes = self.changes()
        if 2 ** len(changes) <= most:
            subsets = itertools.chain.from_iterable(
                itertools.combinations(changes, count) for count in range(len(changes) + 1)
            )
        else:
            some = [[it for it in changes if random.random() < 0.5] for _ in range(most - 2)]
            subsets = [[], changes, *some]
        for subset in subsets:
            yield self.disk(frozenset(subset))
        for change in changes:
            if change[0] == "write":
                yield self.disk(frozenset(changes), torn=change)


class LossyDisk(Disk):
    def __init__(self):
        self.names = {}  # path -> Inode
        self.safe_names = {}
        self.name_changes = []
        self.opened = {}
        self.next_fd = 1000
        self.changed = lambda: None  # called after every change, for a picture
        self.syncs_left = None  # before one that fails; None: none does
        self.has_failed = False

    def freeze(self):
        known = {}
        for inode in [*self.safe_names.values(), *self.names.values()]:
            known.setdefault(id(inode), (len(known), inode))
        for _, inode in itertools.chain.from_iterable(self.name_changes):
            if inode is not None:
                known.setdefault(id(inode), (len(known), inode))
        return Frozen(
            tuple((inode.safe, tuple(inode.pending)) for _, inode in known.values()),
            tuple((path, known[id(inode)][0]) for path, inode in self.safe_names.items()),
            tuple(
                tuple((path, None if it is None else known[id(it)][0]) for path, it in change)
                for change in self.name_changes
            ),
        )

    def change_names(self, *pairs):
        """In one step, as a journal does it."""
        for path, inode in pairs:
            if inode is None:
                self.names.pop(path, None)
            else:
                self.names[path] = inode
        self.name_changes.append(pairs)

    def open(self, path, *, write=False, create=False):
        if path not in self.names:
            if not create:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            self.change_names((path, Inode()))
            self.changed()
        self.next_fd += 1
        self.opened[self.next_fd] = self.names[path]
        return self.next_fd

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
        """The sync of files after ``count`` others fails, and only that one."""
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
        self.safe_names, self.name_changes = dict(self.names), []
        self.changed()

    def sync_directory(self, path):
        self.safe_names, self.name_changes = dict(self.names), []
        self.changed()

    def size(self, path):
        if path not in self.names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return len(self.names[path].data)

    def size_of(self, fd):
        return len(self.opened[fd].data)

    def exists(self, path):
        return path in self.names

    def list(self, path):
        return [name.rpartition("/")[2] for name in self.names if name.startswith(path + "/")]

    def make_directory(self, path):
        pass

    def remove(self, path):
        if path not in self.names:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        self.change_names((path, None))
        self.changed()

    def rename(self, path, other):
        self.change_names((path, None), (other, self.names[path]))
        self.changed()

    def modified_ms(self, path):
        return 0

    def set_modified(self, path, ms):
        pass
