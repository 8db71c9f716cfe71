"""A piece of an open segment file that is sent unchanged, without being read."""

from logstore.storage.files import OpenFile

EXTENT_BYTES_MIN = 64 << 10  # reading less costs no more than keeping a file open for it


class Extent:
    """Whole batches in one file, held open until ``release``. As ``log.Extent``."""

    __slots__ = ("_file", "following", "position", "size")

    def __init__(self, file: OpenFile, position: int, size: int, following: int) -> None:
        """``file`` is lent (``OpenFiles.lend``) to this extent from now on."""
        self._file = file
        self.position = position
        self.size = size
        self.following = following

    def __len__(self) -> int:
        return self.size

    def fileno(self) -> int:
        return self._file.fd

    def sent(self, size: int) -> None:
        """As log.Extent.sent."""
        assert 0 <= size <= self.size
        self.position += size
        self.size -= size

    def release(self) -> None:
        """As log.Extent.release."""
        self._file.give_back()
