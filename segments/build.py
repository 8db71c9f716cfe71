"""Make the shipped segments again, byte for byte: ``python -m segments.build --help``.

Drives the library: what lands in the files is what ``logstore`` writes for anyone who appends
these batches. Only the choice of batches is made here.
"""

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import logstore
from logstore.broker.partitioner import partition_for_key
from logstore.records.compression import Compression
from logstore.records.encode import encode
from logstore.records.record import Message
from segments import flights

HERE = Path(__file__).parent
TOPIC = "flights"
PARTITIONS = 3
RECORDS_AT_MOST = 600  # in a batch: about 190 KB, of which zstd leaves 22; 15 batches or 16
ZSTD_LEVEL = 15  # 30 % less than the default 3; 19 saves another 1 % in thrice the time
ZSTD_VERSION = (1, 5, 7)  # of what is shipped; another may compress the same records differently
MONTH = "1"
SETTINGS = {
    "flush.messages": str(2**63 - 1),  # a file that can be made again needs no sync for each batch
    "segment.ms": str(2**63 - 1),  # a month in one segment
    "retention.ms": "-1",  # the events are of 2013
}
ENDINGS = (".log", ".index", ".timeindex")


def partitioned(messages: Sequence[Message]) -> list[list[Message]]:
    """By key as every Kafka client does; the n-th message without a key goes to n modulo 3.

    Kafka's own rule for those depends on timing, which would make other files each time.
    """
    partitions: list[list[Message]] = [[] for _ in range(PARTITIONS)]
    keyless = 0
    for message in messages:
        if message.key is None:
            partitions[keyless % PARTITIONS].append(message)
            keyless += 1
        else:
            partitions[partition_for_key(message.key, PARTITIONS)].append(message)
    return partitions


def write(partitions: Sequence[Sequence[Message]], into: Path) -> None:
    """``into``/flights-0 ... with one segment each, from these messages."""
    with tempfile.TemporaryDirectory(dir=into) as data:
        with logstore.open(data, config=logstore.Config()) as store:  # no settings from outside
            topic = store.create_topic(TOPIC, partitions=PARTITIONS, settings=SETTINGS)
            for log, messages in zip(topic.partitions, partitions, strict=True):
                for at in range(0, len(messages), RECORDS_AT_MOST):
                    chosen = messages[at : at + RECORDS_AT_MOST]
                    log.append(encode(chosen, compression=Compression.ZSTD, level=ZSTD_LEVEL))
        for name in names():
            (into / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(Path(data) / name, into / name)


def names() -> list[str]:
    """Every file that is shipped, below this directory."""
    stems = [f"{TOPIC}-{number}/{0:020d}" for number in range(PARTITIONS)]
    return [stem + ending for stem in stems for ending in ENDINGS]


def differing(left: Path, right: Path) -> list[str]:
    """The shipped files that are not the same in both directories."""
    _, mismatched, missing = filecmp.cmpfiles(left, right, names(), shallow=False)
    return sorted(mismatched + missing)


@contextmanager
def source(given: Path | None) -> Iterator[Path]:
    """The source distribution: the given file, or downloaded for as long as it is used."""
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory() as directory:
        yield flights.download(Path(directory))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sdist", type=Path, help=f"{flights.SDIST}; default: download it")
    parser.add_argument("--check", action="store_true", help="compare with what is shipped")
    parser.add_argument("--jsonl", type=Path, help="write the values to this file, one a line")
    parser.add_argument("--year", action="store_true", help="with --jsonl: the whole year")
    arguments = parser.parse_args()
    if arguments.year and not arguments.jsonl:
        parser.error("--year needs --jsonl: what is shipped is January")
    try:
        with source(arguments.sdist) as sdist:
            month = None if arguments.year else MONTH
            messages = flights.events(flights.rows(sdist), month)
    except (subprocess.CalledProcessError, flights.WrongSource, OSError) as error:
        print(f"segments.build: no source: {error}", file=sys.stderr)
        return 2
    if arguments.jsonl:
        return write_lines(messages, arguments.jsonl)
    return check(messages) if arguments.check else build(messages)


def write_lines(messages: Sequence[Message], path: Path) -> int:
    with path.open("wb") as file:
        file.writelines((message.value or b"") + b"\n" for message in messages)
    print(f"{len(messages)} events written to {path}")
    return 0


def build(messages: Sequence[Message]) -> int:
    write(partitioned(messages), HERE)
    print(f"{len(messages)} events written to {HERE}")
    return 0


def check(messages: Sequence[Message]) -> int:
    with tempfile.TemporaryDirectory() as directory:
        write(partitioned(messages), Path(directory))
        different = differing(HERE, Path(directory))
    for name in different:
        print(f"differs: {name}")
    if not different:
        print(f"{len(messages)} events: every file is as shipped")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
