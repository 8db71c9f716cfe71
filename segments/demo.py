"""The main job on the shipped real events, by the command line, each step shown as it is run.

`make demo`, or `python -m segments.demo [DIR]`: the store is made anew in DIR (.demo by default).
"""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

WIDTH = 160
SEGMENTS = Path(__file__).parent
DAY = "--from 2013-01-05T00:00Z --to 2013-01-06T00:00Z"
DAY_MS = 1_357_344_000_000, 1_357_430_400_000


def main() -> None:
    """Run every step; the first that fails, or shows something else than it should, ends it."""
    place = Path(sys.argv[1] if len(sys.argv) > 1 else ".demo")
    if place.exists() and not (place / "catalog.mdb").exists() and any(place.iterdir()):
        raise SystemExit(f"{place}: not empty, and not a demo's store: name another directory")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    steps = Steps(place)
    try:
        demo(steps)
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"demo: `{error.cmd}` exited with {error.returncode}") from None
    print("\nThe demo did what it says. Its data is still there; to look at it:")
    print(f"  export PATH={shlex.quote(str(steps.logstore.parent))}:$PATH")
    print(f"  logstore --data {shlex.quote(str(place))} topic list")


class Steps:
    """Commands run one by one, each printed with what it prints."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.logstore = Path(sys.executable).with_name("logstore")

    def say(self, text: str) -> None:
        print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)

    def run(self, command: str, *, lines: int | None = None) -> list[str]:
        """Run `logstore ...` (pipes allowed), print it and its first lines, return all of them."""
        print(f"$ {command}", flush=True)
        where = f"LOGSTORE_DATA={shlex.quote(str(self.place))}"
        real = command.replace("logstore ", f"{where} {shlex.quote(str(self.logstore))} ")
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", real], text=True, stdout=subprocess.PIPE, check=False
        )
        output = done.stdout.splitlines()
        for line in output[:lines]:
            print(line if len(line) <= WIDTH else line[: WIDTH - 3] + "...")
        if lines is not None and len(output) > lines:
            print(f"... and {len(output) - lines:,} lines more")
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, command)
        return output


def demo(steps: Steps) -> None:
    """Produce, consume in two sittings, replay a day, compare, queue its flights, verify."""
    steps.say("Real events in: 27,004 flights of January 2013, from the shipped segments")
    steps.run("logstore topic create flights --partitions 3 --config compression.type=zstd")
    steps.run(
        f"logstore replay flights --data {shlex.quote(str(SEGMENTS))}"
        " | logstore produce flights --key-field tailnum --timestamp-field time_hour"
    )
    steps.run("logstore topic describe flights", lines=8)

    steps.say("Read by a group, in two sittings: the offsets survive in between")
    template = "--format '{partition} {offset} {key} {value}'"
    first = steps.run(f"logstore consume flights --group billing --max 20000 {template}", lines=2)
    steps.run("logstore group describe billing")
    second = steps.run(f"logstore consume flights --group billing {template}", lines=2)
    both = [tuple(line.split(" ", 2)[:2]) for line in first + second]
    expect("records in the first sitting", len(first), 20_000)
    expect("records in both, each once", (len(both), len(set(both))), (27_004, 27_004))

    steps.say("One day replayed into a second topic")
    steps.run(f"logstore replay flights {DAY} --into flights-copy")
    original = [
        record
        for record in records(steps, "flights")
        if DAY_MS[0] <= record["timestamp_ms"] < DAY_MS[1]
    ]
    copy = records(steps, "flights-copy")
    expect("records of 5 January", len(copy), len(original))
    for partition in range(3):
        expect(
            f"partition {partition}: key, value, headers, timestamp of each record alike",
            [told(record) for record in copy if record["partition"] == partition],
            [told(record) for record in original if record["partition"] == partition],
        )

    queues(steps)

    steps.say("Everything is whole")
    steps.run("logstore verify")
    steps.run("logstore status")


def queues(steps: Steps) -> None:
    """Route a day's flights by airport: cancelled ones first, departed ones are dead letters."""
    steps.say("The same day as work: routed by airport, cancelled flights first, what expires kept")
    steps.run("logstore exchange declare departures --type topic")
    steps.run("logstore queue declare departed")
    steps.run(
        "logstore queue declare desk --argument x-max-priority=9"
        " --argument x-dead-letter-exchange= --argument x-dead-letter-routing-key=departed"
    )
    steps.run("logstore exchange bind departures desk --key JFK")
    day = [json.loads(line) for line in steps.run(f"logstore replay flights {DAY}", lines=1)]
    for delay, given in (
        ("(0|-[0-9]+)", " --property expiration=0"), ("[1-9][0-9]*", ""),
        ("null", " --property priority=9"),
    ):  # fmt: skip
        steps.run(
            f"logstore replay flights {DAY} | grep -E '\"dep_delay\":{delay},'"
            f" | logstore exchange publish departures --key-field origin{given}"
        )
    done = list(map(json.loads, steps.run("logstore queue consume desk --format json", lines=2)))
    jfk = [flight for flight in day if flight["origin"] == "JFK"]
    late = [flight for flight in jfk if (flight["dep_delay"] or 0) > 0]
    cancelled = [flight for flight in jfk if flight["dep_delay"] is None]
    bodies = [json.loads(message["body"]) for message in done]
    expect("cancelled flights, which come first", bodies[: len(cancelled)], cancelled)
    expect("late flights behind them, in order", bodies[len(cancelled) :], late)
    dead = map(json.loads, steps.run("logstore queue consume departed --format json", lines=1))
    departed = [flight for flight in jfk if flight not in late + cancelled]
    expect(
        "dead letters: flights that had left in time, and why they are here",
        [(json.loads(it["body"]), it["headers"]["x-death"][0]["reason"]) for it in dead],
        [(flight, "expired") for flight in departed],
    )


def records(steps: Steps, topic: str) -> list[dict[str, object]]:
    """Every record of a topic."""
    return list(map(json.loads, steps.run(f"logstore consume {topic} --format json", lines=1)))


def told(record: dict[str, object]) -> tuple[object, ...]:
    """What a copy must keep."""
    return tuple(record[name] for name in ("key", "value", "headers", "timestamp_ms"))


def expect(what: str, found: object, expected: object) -> None:
    """Say that it is so, or end."""
    if found != expected or found in ([], 0):
        shown = found if isinstance(found, int | tuple) else f"{len(found)} items"  # type: ignore[arg-type]
        raise SystemExit(f"demo: {what}: found {shown}, which is not what was expected")
    number = len(found) if isinstance(found, list) else found
    print(f"-- {what}: {number}", flush=True)


if __name__ == "__main__":
    main()
