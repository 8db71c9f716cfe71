"""What may happen to a server, on purpose; all of it is over when the test is."""

from collections.abc import Iterator
from contextlib import contextmanager

from pytest_logstore.server import Server


class Faults:
    """Of one server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._told = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """It hangs within the block, as a machine does that is suspended."""
        self._server.pause()
        try:
            yield
        finally:
            self._server.resume()

    def cut_clients(self, door: str = "") -> int:
        """Cut off all clients, or those of a door: kafka, resp, amqp. How many they were."""
        query = {"door": door} if door else {}
        rows = self._server.api.rows("connections", **query)
        cut = [it for it in rows if it["door"] != "http"]
        for row in cut:
            self._server.api.delete("connections", str(row["id"]))
        return len(cut)

    def slow_disk(self, seconds: float) -> None:
        """From now on each sync takes so much longer: what is acknowledged waits. 0: none."""
        self._tell(sync_s=seconds)

    def full_disk(self, full: bool = True) -> None:
        """From now on nothing can be written into logs, or it can again."""
        self._tell(full=full)

    def _tell(self, **faults: object) -> None:
        self._told = True
        self._server.tell(**faults)

    def end(self) -> None:
        """All is well again."""
        self._server.resume()
        if self._told:
            self._server.tell(sync_s=0, full=False)
