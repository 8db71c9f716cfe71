"""One flipped bit in every field of every kind of file, a cut of each, then random ones.

Each is found, and named with its file, by whoever opens, reads or verifies; or it is harmless: all
is served as it was appended. Nothing else is ever served, other logs are not touched by it, and
nothing but a LogstoreError is raised. What LMDB can't tell is counted apart: it has no checksums.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from examine import contents
from lossy_disk import LONG

import logstore
from logstore.records.batch import Batch
from logstore.storage.names import CATALOG, WATERMARKS
from logstore.upkeep.backup import MANIFEST

pytestmark = pytest.mark.long

TESTS = Path(__file__).parents[1]
RECORDS = 24
SETTINGS = {"segment.bytes": "330", "index.interval.bytes": "60"}
RANDOM = 3000 if LONG else 40
MOST = 30  # of one kind of file, in the default run
HEADER = {
    "base offset": 0, "length": 8, "leader epoch": 12, "magic": 16, "crc": 17, "attributes": 21,
    "last offset delta": 23, "base timestamp": 27, "max timestamp": 35, "producer id": 43,
    "producer epoch": 51, "base sequence": 53, "record count": 57, "end": 61,
}  # fmt: skip
UNUSED = "leader epoch"  # not looked at, not handed out


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A store that was closed; two topics, the second as large as the first."""
    path = tmp_path_factory.mktemp("flips") / "store"
    path.mkdir()
    (path / "logstore.toml").write_text("[upkeep.interval]\nms = -1\n")
    with logstore.open(path) as store:
        for name in ("t", "u"):
            topic = store.create_topic(name, 1, SETTINGS)
            for n in range(RECORDS):
                topic.append(value(name, n), timestamp_ms=1_700_000_000_000 + n)
        with store.consumer("t", group="g") as consumer:
            consumer.poll(7)
    assert len(list((path / "t-0").glob("*.log"))) > 4
    return path


def value(topic, n):
    return f"{topic} {n} ".encode() * (1 + n % 2)


def sampled(cases):
    """All of them in the long run; else some, each time others."""
    if LONG or len(cases) <= MOST:
        return cases
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed).sample(cases, MOST)


def serve(template, scratch, cases):
    """The result of each case."""
    lines = "".join(json.dumps({"most": RECORDS} | case) + "\n" for case in cases)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LOGSTORE_")}
    environment["PYTHONPATH"] = str(TESTS.parent)
    done = subprocess.run(
        [sys.executable, str(TESTS / "kit" / "examine.py"), str(template), f"{scratch}/s"],
        input=lines, capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(results) == len(cases), done.stderr
    return results


class Outcome:
    """What one case came to."""

    def __init__(self, case, result):
        self.case, self.result = case, result
        assert "bug" not in result, (case, result["bug"])
        self.killed = "killed" in result
        if self.killed:
            return
        self.whole = {
            name: all(self._serves(mode, name) for mode in ("read", "write", "again"))
            for name in ("t-0", "u-0")
        }
        self._check_served()
        said = result["told"] + [f"{it[0]} {it[1]}" for it in result["findings"]]
        self.said = said
        named = os.path.join(result["path"], case["file"])
        stem = named.rpartition(".")[0] if "-0/" in case["file"] else named
        self.named = any(stem in it for it in said)
        assert all("\n" not in it for it in said)

    def _serves(self, mode, name):
        served = self.result["served"].get(mode, {}).get(name, {})
        return all(str(n) in served for n in range(RECORDS))

    def _check_served(self):
        """Nothing that was not appended there, whatever is damaged."""
        for served in self.result["served"].values():
            for name, records in served.items():
                for n, text in records.items():
                    wanted = value(name[0], int(n)).decode()
                    assert text == wanted or text == "after", (self.case, name, n, text)

    @property
    def harmless(self):
        return all(self.whole.values())

    @property
    def damaged(self):
        """The findings that are no index."""
        return [it for it in self.result["findings"] if not it[2]]


def check(template, scratch, cases, *, other="u-0"):
    """The law for files of t-0, or of none. Returns the outcomes."""
    results = serve(template, scratch, cases)
    outcomes = [Outcome(case, it) for case, it in zip(cases, results, strict=True)]
    for it in outcomes:
        assert not it.killed, (it.case, it.result)
        assert it.whole[other], (it.case, it.said)  # another log is another log
        assert it.harmless or it.named, (it.case, it.said)
    return outcomes


def batches_of(data):
    """(position, size) of each batch."""
    found, at = [], 0
    while at < len(data):
        size = 12 + int.from_bytes(data[at + 8 : at + 12], "big")
        Batch(data[at : at + size])
        found.append((at, size))
        at += size
    return found


def files(template, ending):
    """Those of t-0, by name from the template on: the first, one between, the last."""
    names = sorted(f"t-0/{it.name}" for it in (template / "t-0").glob(f"*{ending}"))
    return [names[0], names[len(names) // 2], names[-1]]


def in_log(template):
    """A flip at both ends of each field of a header, and in the records, of several batches."""
    cases = []
    for name in files(template, ".log"):
        batches = batches_of((template / name).read_bytes())
        for position, size in {batches[0], batches[-1]}:
            for (field, at), end in zip(
                HEADER.items(), [*list(HEADER.values())[1:], 0], strict=True
            ):
                places = [(at, 0x80), (end - 1, 1)] if end else [(61, 1), (62, 2), (size - 1, 0x80)]
                for place, mask in places:
                    flips = [(position + place, mask)]
                    batch = [name, position]
                    case = {"file": name, "flips": flips, "field": field, "batch": batch}
                    cases.append(case)
    return cases


def test_every_field_of_a_batch(template, scratch):
    cases = in_log(template)
    if not LONG:  # both ends of each field, of some batch
        batch = random.Random(f"{os.getpid()}").choice([it["batch"] for it in cases])
        print(f"batch {batch}")
        cases = [it for it in cases if it["batch"] == batch]
    outcomes = check(template, scratch, cases)
    for it in outcomes:
        if it.case["field"] == UNUSED:
            assert it.harmless, it.case
            continue
        assert not it.whole["t-0"], it.case
        named = os.path.join(it.result["path"], it.case["file"])
        assert any(named in f"{path} {said}" for path, said, _ in it.damaged), (it.case, it.said)
        # What the other segments hold is read.
        served = it.result["served"]["write"]["t-0"]
        begins = int(it.case["file"].split("/")[1].split(".")[0])
        later = sorted(
            int(name.split(".")[0]) for name in os.listdir(template / "t-0") if name.endswith("log")
        )
        ends = next((base for base in later if base > begins), RECORDS)
        outside = [n for n in range(RECORDS) if not begins <= n < ends]
        assert all(str(n) in served for n in outside), (it.case, it.said)
    print(f"{len(cases)} states")


def test_every_entry_of_the_indexes(template, scratch):
    cases = []
    for ending, entry in ((".index", 8), (".timeindex", 12)):
        for name in files(template, ending):
            size = (template / name).stat().st_size
            places = [
                at for at in range(size) if size <= 2 * entry or at < entry or at >= size - entry
            ]
            cases += [{"file": name, "flips": [(at, 1 << at % 8)]} for at in places]
            cases += [
                {"file": name, "size": cut} for cut in {0, 1, size // 2, size - 1} if cut < size
            ]
    cases = sampled(cases)
    outcomes = check(template, scratch, cases)
    assert all(it.harmless for it in outcomes)  # derived: done without, or made anew
    assert all(not it.damaged for it in outcomes)
    print(f"{len(cases)} states")


def test_a_log_cut_short_anywhere(template, scratch):
    cases = []
    for name in files(template, ".log"):
        size = (template / name).stat().st_size
        cuts = {0, 1, 11, 12, 60, 61, 62, size // 2, size - 1}
        cases += [{"file": name, "size": cut} for cut in sorted(cuts)]
    cases = sampled(cases)
    outcomes = check(template, scratch, cases)
    assert not any(it.whole["t-0"] for it in outcomes)
    print(f"{len(cases)} states")


def test_watermarks(template, scratch):
    """Derived: what they say too little of is in the catalogue. Too much: the log is refused."""
    size = (template / WATERMARKS).stat().st_size
    fields = dict.fromkeys((0, 8, 32, 40, 48, 56, 64, 72, 80, 88), 8)  # magic, unused, two slots
    places = [(at + byte, mask) for at in fields for byte in (0, 1, 7) for mask in (1, 0x20)]
    cases = [{"file": WATERMARKS, "flips": [place]} for place in places]
    cases += [{"file": WATERMARKS, "size": cut} for cut in (0, 1, 8, 40, 4096, size - 1)]
    cases = sampled(cases)
    results = serve(template, scratch, cases)
    states = 0
    for case, result in zip(cases, results, strict=True):
        it = Outcome(case, result)
        served = it.result["served"].get("write", {})
        for name in ("t-0", "u-0"):  # nothing that is there is ever hidden by it
            if name in served:
                assert it._serves("write", name), (case, it.said)
        # In doubt nothing is appended, and somebody is told.
        assert it.harmless or it.said, case
        states += 1
    print(f"{states} states")


def test_files_that_say_who_is_there(template, scratch):
    """Of no meaning when nobody is."""
    garbage = [{"file": "lock", "flips": []}]
    size = (template / f"{CATALOG}-lock").stat().st_size
    places = [*range(0, 80, 3), *range(80, size, 509)]
    garbage += [{"file": f"{CATALOG}-lock", "flips": [(at, 1 << at % 8)]} for at in places]
    garbage += [{"file": f"{CATALOG}-lock", "size": cut} for cut in (0, 1, 64, size - 1)]
    garbage = sampled(garbage)
    assert all(it.harmless for it in check(template, scratch, garbage))
    print(f"{len(garbage)} states")


def test_settings(template, scratch):
    """Another value is another value; else the file is named."""
    data = (template / "logstore.toml").read_bytes()
    cases = [{"file": "logstore.toml", "flips": [(at, 1 << at % 8)]} for at in range(len(data))]
    cases = sampled(cases)
    results = serve(template, scratch, cases)
    refused = 0
    for case, result in zip(cases, results, strict=True):
        it = Outcome(case, result)
        assert it.harmless or it.named, (case, it.said)
        refused += it.named
    assert refused > len(cases) // 2
    print(f"{len(cases)} states")


# LMDB keeps no checksums: these bytes of its pages it follows without a look, and where they lead
# nowhere the process ends by its own assertion or SIGBUS. No record is lost by that.
KILLS_MOST = 0.02  # of flips in bytes that are in use


def catalogue_cases(template, choose, count):
    data = (template / CATALOG).read_bytes()
    used = [at for at, byte in enumerate(data) if byte]
    return [
        {"file": CATALOG, "flips": [(choose.choice(used), 1 << choose.randrange(8))]}
        for _ in range(count)
    ]


def test_the_catalogue(template, scratch):
    """Both meta pages field by field, then bytes in use at random, and cuts."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    choose = random.Random(seed)
    meta = [0, 10, 16, 20, 24, 32, 40, 44, 46, 48, 80, 88, 92, 94, 128, 136, 144]
    cases = [
        {"file": CATALOG, "flips": [(page + at, 1 << choose.randrange(8))]}
        for page in (0, 4096)
        for at in meta
    ]
    cases += catalogue_cases(template, choose, RANDOM)
    size = (template / CATALOG).stat().st_size
    cuts = [0, 1, 100, 4095, 4096, 8192, 12_288, size // 2, size - 4096, size - 1]
    cases += [{"file": CATALOG, "size": cut} for cut in cuts]
    results = serve(template, scratch, cases)
    killed, told = 0, 0
    for case, result in zip(cases, results, strict=True):
        it = Outcome(case, result)
        if it.killed:
            assert "size" not in case, case  # a file that was cut short ends no process
            killed += 1
            continue
        told += bool(it.said)
        if case.get("size", size) < 4096:
            assert it.named, (case, it.said)
    print(f"{told} told, {killed} killed by LMDB, {len(cases)} states")
    assert killed <= 1 + KILLS_MOST * len(cases)


def test_a_backup(template, scratch):
    """A flip in any of its files: nothing is restored, and the file is named."""
    target = f"{scratch}/backup"
    with logstore.open(template, "read") as store:
        list(store.backup(target))
    scratch = f"{scratch}/cases"
    choose, cases = random.Random(1), []
    for name, data in contents(target).items():
        places = range(0, len(data), 7)
        if name != MANIFEST:
            places = choose.sample(range(len(data)), min(2, len(data)))
        cases += [
            {"file": name, "flips": [(at, 1 << at % 8)], "restore": True}
            for at in (places if LONG or name != MANIFEST else places[::9])
        ]
        if data:
            cases.append({"file": name, "size": len(data) // 2, "restore": True})
    cases = sampled(cases)
    results = serve(target, scratch, cases)
    for case, result in zip(cases, results, strict=True):
        it = Outcome(case, result)
        if case["file"] != MANIFEST:
            assert it.named, (case, it.said)
            assert not it.result["served"]
        assert it.harmless or it.said, case
    print(f"{len(cases)} states")


def test_random_flips_and_cuts(template, scratch):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    choose, cases = random.Random(seed), []
    names = [f"t-0/{it.name}" for it in sorted((template / "t-0").iterdir())]
    while len(cases) < RANDOM:
        name = choose.choice(names)
        size = (template / name).stat().st_size
        if not size:
            continue
        if choose.random() < 0.2:
            cases.append({"file": name, "size": choose.randrange(size)})
            continue
        count = choose.choice((1, 1, 1, 2, 16))
        flips = [(choose.randrange(size), 1 << choose.randrange(8)) for _ in range(count)]
        cases.append({"file": name, "flips": flips})
    check(template, scratch, cases)
    print(f"{len(cases)} states")
