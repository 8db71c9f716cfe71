"""The present and recent runs of upkeep, to be shown to people. From any thread."""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

HISTORY_MAX: Final = 100  # runs that are remembered
TOPICS_SHOWN: Final = 10  # of a job that names very many


class Asked(NamedTuple):
    """The request for a run."""

    name: str  # of the job
    topics: Sequence[str]  # none: all
    dry_run: bool
    by_itself: bool  # nobody asked for it


class Did(NamedTuple):
    """The result of a run for one log."""

    due: bool = False  # there was something to do
    segments: int = 0  # dropped
    records: int = 0  # removed
    bytes: int = 0  # dropped, or saved
    failure: str = ""


# What is counted of each job since the process began: runs (no dry runs), those that failed, logs
# that could not be worked on, and what was done.
TOTALS: Final = ("runs", "failed", "failures", "ms", "segments", "records", "bytes")


class Doing:
    """The runs of one store."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._totals: dict[str, dict[str, int]] = {}  # by the job's name
        self._lock = threading.Lock()
        self._running: dict[int, Run] = {}
        self._ended: deque[Mapping[str, Any]] = deque(maxlen=HISTORY_MAX)

    def begin(self, asked: Asked) -> "Run":
        """A run of a job begins."""
        run = Run(asked, self._clock())
        with self._lock:
            self._running[id(run)] = run
        return run

    def end(self, run: "Run", error: str = "") -> None:
        """The run is over. A periodic run that did nothing is not remembered."""
        with self._lock:
            self._running.pop(id(run), None)
            self._count(run, error)
            if error or run.is_worth_telling:
                self._ended.appendleft(run.ended(self._clock(), error))

    def _count(self, run: "Run", error: str) -> None:
        if run.dry_run:
            return
        totals = self._totals.setdefault(run.name, dict.fromkeys(TOTALS, 0))
        more = {"runs": 1, "failed": bool(error), "ms": run.ms(self._clock()), **run.totals}
        for name, count in more.items():
            totals[name] += count

    def facts(self) -> dict[str, Any]:
        """Running and recent runs, newest first; totals of each job since the process started."""
        with self._lock:
            running = list(self._running.values())
            ended = list(self._ended)
            totals = {name: dict(counts) for name, counts in self._totals.items()}
        return {"running": [it.facts() for it in running], "history": ended, "totals": totals}


class Run:
    """One run, updated by the code that does it."""

    def __init__(self, asked: Asked, began_ms: int) -> None:
        self._asked = asked
        self._began_ms = began_ms
        self._log = ""  # that it is at
        self._share = 0.0  # of that one
        self._logs = 0  # that it has looked at
        self._due = self._dropped = self._removed = self._bytes = self._failed = 0
        self._failure = ""  # the first

    def at(self, topic: str, partition: int) -> None:
        """The run begins with this log."""
        self._log, self._share = f"{topic}-{partition}", 0.0

    def progress(self, bytes_done: int, bytes_total: int) -> None:
        """The progress with the present log."""
        self._share = bytes_done / bytes_total if bytes_total else 1.0

    def add(self, it: Did) -> None:
        """The result for the present log."""
        self._logs += 1
        self._due += it.due
        self._dropped += it.segments
        self._removed += it.records
        self._bytes += it.bytes
        self._failed += bool(it.failure)
        self._failure = self._failure or it.failure

    @property
    def name(self) -> str:
        """The name of the job."""
        return self._asked.name

    @property
    def dry_run(self) -> bool:
        return self._asked.dry_run

    def ms(self, now_ms: int) -> int:
        """The time since it began."""
        return max(now_ms - self._began_ms, 0)

    @property
    def totals(self) -> dict[str, int]:
        """The totals of what it has done, and the number of failed logs."""
        return {
            "failures": self._failed, "segments": self._dropped, "records": self._removed,
            "bytes": self._bytes,
        }  # fmt: skip

    @property
    def is_worth_telling(self) -> bool:
        """Whether it did anything, or failed, or was asked for."""
        return not self._asked.by_itself or bool(self._due or self._failed)

    @property
    def _object(self) -> str:
        topics = self._asked.topics
        if not topics:
            return "all logs"
        more = f" and {len(topics) - TOPICS_SHOWN} more" if len(topics) > TOPICS_SHOWN else ""
        return ", ".join(topics[:TOPICS_SHOWN]) + more

    def facts(self) -> Mapping[str, Any]:
        """The present facts."""
        return {
            "name": self._asked.name,
            "object": self._log or self._object,
            "share": round(min(self._share, 1.0), 4),
            "logs": self._logs,
            "since_ms": self._began_ms,
            "by_itself": self._asked.by_itself,
            "dry_run": self._asked.dry_run,
        }

    def ended(self, now_ms: int, error: str) -> Mapping[str, Any]:
        """The facts as they are remembered."""
        failure = error or self._failure
        if self._failed > 1:
            failure += f" (and {self._failed - 1} more)"
        return {
            "name": self._asked.name,
            "object": self._object,
            "began_ms": self._began_ms,
            "ended_ms": now_ms,
            "took_ms": self.ms(now_ms),
            "logs": self._logs,
            "outcome": self._outcome(),
            "error": failure or None,
            "by_itself": self._asked.by_itself,
            "dry_run": self._asked.dry_run,
        }

    def _outcome(self) -> str:
        would = "would have " if self._asked.dry_run else ""
        if not self._due:
            return "nothing was to be done"
        if self._asked.name == "retention":
            return f"{would}dropped {self._dropped} segments of {self._bytes} bytes"
        if self._asked.dry_run:
            return f"would have rewritten {self._due} logs"
        if self._asked.name == "compact":
            return (
                f"compacted {self._due} logs: {self._removed} records removed, "
                f"{self._bytes} bytes saved"
            )
        return f"recompressed {self._due} logs: {self._bytes} bytes saved"
