"""What the HTTP door needs to show figures: fakes of what is asked, and figures by hand."""

from types import SimpleNamespace

from http_kit import HttpPeer

from logstore.figures.figures import Figures, Seen
from logstore.figures.ring import STEP_S
from logstore.protocols.session import About


class FakeConnection:
    """One that came in by some door."""

    gone = False

    def __init__(self, number, door="kafka", peer=("192.0.2.1", 40_000), about=None, **facts):
        self.id, self.door, self.peer_address = number, door, peer
        self.peer = f"{peer[0]}:{peer[1]}"
        self.address = "127.0.0.1", 9092
        self.secure = facts.get("secure", False)
        self.opened_at = facts.get("opened_at", 1000.0)
        self.bytes_in, self.bytes_out = facts.get("bytes_in", 0), facts.get("bytes_out", 0)
        self.unsent = facts.get("unsent", 0)
        self._about = about or About()
        self.asked = 0

    def about(self):
        assert not self.gone
        self.asked += 1
        return self._about


class FakeConnections:
    def __init__(self, *them):
        self.them = list(them)
        self.closed = []

    def connections(self):
        return list(self.them)

    def connection(self, number):
        return next((it for it in self.them if it.id == number), None)

    def close(self, number, reason):
        self.closed.append((number, reason))
        return True


class Timer:
    """The sessions' clock: calls are made when the test lets time pass."""

    def __init__(self):
        self.seconds, self.calls = 1000.0, []

    def now(self):
        return self.seconds

    def call_at(self, at, call):
        self.calls.append((at, call))

    def pass_time(self, seconds):
        self.seconds += seconds
        due = [it for it in self.calls if it[0] <= self.seconds]
        self.calls = [it for it in self.calls if it[0] > self.seconds]
        for _, call in due:
            call()


class Watching:
    """A client of the HTTP door of a server whose figures the test makes."""

    def __init__(self, *connections, who=None, **given):
        self.timer = Timer()
        self.connections = FakeConnections(*connections)
        self.figures = Figures(self.timer.now, lambda: int(self.timer.seconds * 1000))
        self.figures.connections = self.connections.connections
        self.later = []
        self.given = {
            "figures": self.figures,
            "connections": self.connections,
            "timer": self.timer,
            "stopwatch": self.timer.now,
            "clock": lambda: int(self.timer.seconds * 1000),
            "topics": SimpleNamespace(count=lambda: 3, get=lambda name: None),
            "soon": self.later.append,
            **({} if who is None else {"who": who}),
            **given,
        }
        self.peer = HttpPeer(**self.given)
        self.peer.door.queues_of.opened = None

    def look(self, *, step=STEP_S, **kinds):
        """Measure these values: ``queue={1: (..)}``, by kind and key."""
        for kind, table in kinds.items():
            self.figures.sources[kind] = lambda table=table: [
                it if isinstance(it, Seen) else Seen(key, it) for key, it in table.items()
            ]
        self.timer.seconds += step
        for _ in self.figures.look():
            pass
