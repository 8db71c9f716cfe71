"""Another process that reads a store: says on standard output what it sees, as lines.

    follower_process.py DIR TOPIC COMMAND

``follow N``: waits by the watch event until N records were seen, and prints each number.
``once``: prints the numbers of what is there now.
"""

import sys
import threading

from storage_kit import DEADLINE_S

import logstore
from logstore.errors import LogstoreError, OffsetBelowStart
from logstore.records.decode import decode


def main(path, topic, command, *rest):
    with logstore.open(path, "read") as store:
        log = store.topic(topic).partition(0)
        wanted = int(rest[0]) if command == "follow" else None
        awake = threading.Event()
        stop = log.watch(awake.set)
        at = log.start
        seen = 0
        print("ready", flush=True)
        while True:
            awake.clear()
            try:
                batches = log.read(at, 1 << 20)
            except OffsetBelowStart:
                at = log.start
                continue
            for batch in batches:
                batch.check()
                for record in decode(batch):
                    if record.offset >= at:
                        print(record.value.split(b"|")[0].decode(), flush=True)
                        seen += 1
                at = batch.next_offset
            if batches:
                continue
            if wanted is None or seen >= wanted:
                break
            if not awake.wait(DEADLINE_S):
                raise SystemExit("nothing came")
        stop()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except LogstoreError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        sys.exit(1)
