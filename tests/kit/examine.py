"""Damage a copy of a store and see what becomes of it, each time in a process of its own.

    python examine.py TEMPLATE SCRATCH < cases > results

Cases and results are lines of JSON. A case names a file, bits to flip, and a size to cut it to; its
result is what readers and writers were given and told, or how the process died: LMDB maps its
file, and a damaged one may end the process.
"""

import json
import os
import shutil
import sys
import traceback
from contextlib import contextmanager

import logstore
from logstore.broker.reading import records_of
from logstore.errors import LogstoreError
from logstore.storage.disk import Disk
from logstore.upkeep.backup import restore

BEYOND = 5  # offsets above the appended ones that are requested


def contents(path):
    """Every file below the path, by its relative path."""
    found = {}
    for folder, _, names in os.walk(path):
        for name in names:
            full = os.path.join(folder, name)
            with open(full, "rb") as file:
                found[os.path.relpath(full, path)] = file.read()
    return found


def lay_out(files, path, case):
    """Write the files, one of them damaged."""
    for name, data in files.items():
        full = os.path.join(path, name)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        damaged = bytearray(data)
        if name == case["file"]:
            for at, mask in case.get("flips", ()):
                damaged[at] ^= mask
            if case.get("size") is not None:
                del damaged[case["size"] :]
        with open(full, "wb") as file:
            file.write(damaged)


class Examination:
    """What is said and served; anything but a LogstoreError is a bug, and ends it."""

    def __init__(self):
        self.told = []  # every error's text
        self.served = {}  # mode -> topic-partition -> {offset: value}
        self.findings = []  # (path, message, derived)
        self.groups = {}

    @contextmanager
    def hearing(self):
        try:
            yield
        except LogstoreError as error:
            self.told.append(str(error))

    def read(self, store, mode, most):
        served = self.served.setdefault(mode, {})
        topics = []
        with self.hearing():
            topics = store.topics()
        for name in topics:
            with self.hearing():
                for log in store.topic(name).partitions:
                    with self.hearing():
                        served[log.name] = dict(self.records(log, most))

    def records(self, log, most):
        at = log.start
        while at < min(log.safe, most + BEYOND):
            batches = []
            with self.hearing():
                batches = log.read(at, 1 << 16)
            following = at + 1  # where nothing can be read
            for batch in batches:
                with self.hearing():
                    records = records_of(log, (log.name, 0), [batch], at)
                    yield from ((it.offset, it.value.decode("latin-1")) for it in records)
                    following = batch.next_offset
                    continue
                break
            at = following

    def whole(self, path, most):
        with self.hearing(), logstore.open(path, "read") as store:
            self.read(store, "read", most)
        with self.hearing(), logstore.open(path) as store:
            self.read(store, "write", most)
            with self.hearing():
                for report in store.verify():
                    self.findings += [(it.path, it.message, it.derived) for it in report.findings]
            with self.hearing():
                store.status()
            with self.hearing():
                for group in store.groups():
                    self.groups[group] = [
                        (it.topic, it.partition, it.committed)
                        for it in store.group(group).describe()
                    ]
            for name in store.topics():
                with self.hearing():
                    store.offset_for(name, 0, 0)
                with self.hearing():
                    store.topic(name).append(b"after", partition=0)
        with self.hearing(), logstore.open(path, "read") as store:
            self.read(store, "again", most + 1)


def examine(files, path, case):
    """Examine the store in a child; returns the result as a dict."""
    seen = Examination()
    lay_out(files, path, case)
    store = path
    if case.get("restore"):
        store = path + ".restored"
        with seen.hearing():
            list(restore(path, store, Disk()))
    if not case.get("restore") or os.path.exists(store):
        seen.whole(store, case["most"])
    return {
        "told": seen.told, "served": seen.served, "findings": seen.findings, "groups": seen.groups,
    }  # fmt: skip


def in_a_child(work):
    """The result of the child, or the signal that ended it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            result = work()
        except BaseException:  # noqa: BLE001  the parent is told
            result = {"bug": traceback.format_exc()}
        with os.fdopen(writing, "w") as pipe:
            json.dump(result, pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    return json.loads(text) if status == 0 else {"killed": os.waitstatus_to_exitcode(status)}


def main():
    template, scratch = sys.argv[1:]
    files = contents(template)
    for number, line in enumerate(sys.stdin):
        case, path = json.loads(line), os.path.join(scratch, str(number))
        result = in_a_child(lambda case=case, path=path: examine(files, path, case))
        print(json.dumps({"path": path} | result), flush=True)
        for left in (path, path + ".restored"):
            shutil.rmtree(left, ignore_errors=True)


if __name__ == "__main__":
    main()
