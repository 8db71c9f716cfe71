"""``logstore queue browse`` and ``queue replay``: on a directory, and on one that is served."""

import json
import signal
from itertools import count

import pytest
from clock import NOW_MS
from logstore_cli import queue_past
from logstore_cli.queue_site import Replayed
from serving import Serving
from waiting import until

import logstore as library
from logstore.clock import now_ms


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    running = Serving(tmp_path_factory.mktemp("broker") / "data", amqp_port=0)
    yield running
    code, errors = running.stop()
    assert code == 0
    assert "Traceback" not in errors


@pytest.fixture(params=["here", pytest.param("served", marks=pytest.mark.long)])
def way(request, monkeypatch, data):
    if request.param == "served":
        monkeypatch.setenv("LOGSTORE_DATA", str(request.getfixturevalue("broker").data))
    return request.param


@pytest.fixture
def both(way, logstore):
    """As ``logstore``, in either way."""
    return logstore


@pytest.fixture
def mail(way, both, data, name):
    """A queue with six messages, of which two are settled."""
    if way == "here":
        times = count(now_ms() - 60_000)  # in one ms, the order of priorities is another one
        with library.open(data, clock=lambda: next(times)) as store:
            queue = store.queue(name, max_priority=5)
            for n in range(6):
                queue.publish(b"m%d" % n, headers={"n": str(n)}, priority=n % 2)
            for _ in range(2):
                queue.get().ack()
        return name
    both("queue", "declare", name, "--argument", "x-max-priority=5")
    for n in range(6):
        both("exchange", "publish", "", "--key", name, "--message", f"m{n}", "--header", f"n={n}",
             "--property", f"priority={n % 2}")  # fmt: skip
    both("queue", "get", name, "--max", "2")
    return name


def objects(result):
    return [json.loads(line) for line in result.lines]


@pytest.mark.long
def test_browse_shows_position_state_properties_and_body_of_all_that_is_there(both, mail):
    found = both("queue", "browse", mail)
    assert [line.split(" ")[:2] for line in found.lines] == [
        ["1:0", "settled"], ["1:1", "settled"], ["1:2", "ready"], ["0", "ready"], ["1", "ready"],
        ["2", "ready"],
    ]  # fmt: skip
    assert found.lines[0] == '1:0 settled {"delivery_mode":2,"priority":1} {"n":"1"} m1'
    assert both("queue", "browse", mail, "--only", "settled", "--format", "raw").out == "m1\nm3\n"
    assert both("queue", "browse", mail, "--header", "n=4", "--format", "raw").out == "m4\n"
    [it] = objects(both("queue", "browse", mail, "--header", "n=3", "--format", "json"))
    assert (it["position"], it["state"], it["body"], it["headers"]) == (
        "1:1", "settled", "m3", {"n": "3"},
    )  # fmt: skip
    more = both("queue", "browse", mail, "--max", "4", "--format", "raw")
    assert (more.out, more.err) == (
        "m1\nm3\nm5\nm0\n", "there are more messages: begin with --from 1\n",
    )  # fmt: skip
    rest = both("queue", "browse", mail, "--from", "1", "--format", "raw")
    assert (rest.out, rest.err) == ("m2\nm4\n", "")
    assert both("queue", "browse", mail, "--to", "0", "--format", "raw").out == "m1\nm3\nm5\n"
    assert json.loads(both("queue", "describe", mail, "--json").out)["ready"] == 4


@pytest.mark.long
def test_replay_prints_what_is_settled_in_the_order_in_which_it_was_published(both, mail):
    assert both("queue", "replay", mail).out == "m1\nm3\n"
    everything = both("queue", "replay", mail, "--only", "all")
    assert everything.out == "m0\nm1\nm2\nm3\nm4\nm5\n"
    template = "{position} {state} {body}"
    some = both("queue", "replay", mail, "--only", "unsettled", "--format", template)
    assert some.lines == ["0 ready m0", "1 ready m2", "2 ready m4", "1:2 ready m5"]
    assert both("queue", "replay", mail, "--from", "1:1", "--only", "all").out == "m3\nm5\n"
    assert both("queue", "replay", mail, "--from", "-1h", "--to", "2100-01-01").out == "m1\nm3\n"
    assert both("queue", "replay", mail, "--from", "2100-01-01").out == ""
    assert both("queue", "replay", mail, "--header", "n=3").out == "m3\n"


def test_replay_goes_into_an_exchange_a_queue_or_a_topic(both, mail, name):
    copy = f"{name}-copy"
    both("queue", "declare", copy)
    both("exchange", "declare", f"{name}-x", "--type", "fanout")
    both("exchange", "bind", f"{name}-x", copy)
    done = both("queue", "replay", mail, "--into", f"exchange:{name}-x")
    assert done.err.startswith(f"replayed 2 messages of queue {mail} into exchange {name}-x in ")
    both("queue", "replay", mail, "--into", f"queue:{copy}", "--only", "unsettled")
    found = objects(both("queue", "consume", copy, "--format", "json"))
    assert [it["body"] for it in found] == ["m1", "m3", "m0", "m2", "m4", "m5"]
    assert found[0]["headers"] == {"n": "1"}
    assert (found[0]["exchange"], found[0]["key"]) == (f"{name}-x", mail)
    assert (found[2]["exchange"], found[2]["key"]) == ("", copy)
    done = both("queue", "replay", mail, "--into", f"topic:{name}-t", "--only", "all")
    assert f"created topic {name}-t" in done.err
    records = objects(both("consume", f"{name}-t", "--format", "json"))
    assert [it["value"] for it in records] == [f"m{n}" for n in range(6)]
    assert {it["key"] for it in records} == {mail}
    nowhere = both("queue", "replay", mail, "--into", "exchange:amq.direct", "--key", "none")
    assert nowhere.err.splitlines()[-1] == "2 messages reached no queue"


def test_a_replay_into_its_own_queue_ends(both, mail):
    both("queue", "replay", mail, "--into", f"queue:{mail}", "--only", "all")
    assert json.loads(both("queue", "describe", mail, "--json").out)["ready"] == 10


@pytest.mark.long
def test_a_replay_that_a_full_queue_ends_says_how_to_go_on(both, mail, name):
    small = f"{name}-small"
    both("queue", "declare", small, "--argument", "x-max-length=4",
         "--argument", "x-overflow=reject-publish")  # fmt: skip
    failed = both("queue", "replay", mail, "--into", f"queue:{small}", "--only", "all", code=1)
    [line] = failed.err.splitlines()
    assert "a queue is full" in line
    assert f"replayed 4 messages of queue {mail} into queue {small}; go on with --from " in line
    on = line.rpartition("--from ")[2]
    both("queue", "consume", small)
    both("queue", "replay", mail, "--into", f"queue:{small}", "--only", "all", "--from", on)
    assert both("queue", "consume", small).out == "m4\nm5\n"


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("browse", "nobody"), 1, "no queue 'nobody'"),
        (("replay", "nobody", "--into", "topic:made"), 1, "no queue 'nobody'"),
        (("browse", "{}", "--from", "x"), 2, "is not a time"),
        (("browse", "{}", "--from", "0:1..2"), 2, "is not a time"),
        (("browse", "{}", "--only", "some"), 2, "some"),
        (("browse", "{}", "--header", "n"), 2, "--header"),
        (("browse", "{}", "--format", "{what}"), 2, "what"),
        (("replay", "{}", "--into", "mail"), 2, "queue:NAME or topic:NAME, or stdout"),
        (("replay", "{}", "--into", "queue:nobody"), 1, "no queue 'nobody'"),
        (("replay", "{}", "--into", "exchange:nobody"), 1, "no exchange 'nobody'"),
        (("replay", "{}", "--into", "topic:a/b"), 1, "a/b"),
        (("replay", "{}", "--into", "queue:x", "--key", "k"), 2, "as its key"),
        (("replay", "{}", "--key", "k"), 2, "--key needs --into"),
        (("replay", "{}", "--speed", "nan"), 2, "0 or more"),
        (("replay", "{}", "--from", "2020-01-02", "--to", "2020-01-01"), 2, "before --from"),
        (("replay", "{}", "--from", "1:0", "--to", "2:0"), 1, "different priorities"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_one_line(both, name, words, code, told):
    both("queue", "declare", name, "--argument", "x-max-priority=5")
    found = both("queue", *(it.replace("{}", name) for it in words), code=code)
    assert told in found.err
    if code == 1:
        assert len(found.err.splitlines()) == 1
    assert "made" not in both("topic", "list").out


class Slept:
    """A stop whose sleeps are the clock's steps."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        self.sleeps = []
        monkeypatch.setattr(queue_past.time, "monotonic", lambda: self.now)

    def check(self):
        pass

    def sleep(self, seconds):
        self.sleeps.append(round(seconds, 3))
        self.now += max(0.0, seconds)


def test_messages_are_replayed_at_the_pace_at_which_they_came(monkeypatch):
    times = [1000, 1000, 3000, 2500, 9000]  # a clock that jumped back holds nobody up
    sent = []

    def step(on, before_ms):
        at = int(on or 0)
        first = at
        while at < len(times) and (before_ms is None or times[at] < before_ms):
            sent.append((slept.now, at))
            at += 1
        end = at == len(times)
        return Replayed(at - first, 0, None if end else str(at), None if end else times[at])

    slept = Slept(monkeypatch)
    queue_past._Replay("q", "queue:x", 2.0, slept).run(step, None)
    assert sent == [(0.0, 0), (0.0, 1), (1.0, 2), (1.0, 3), (4.0, 4)]
    sent.clear()
    slept.now = 0.0
    queue_past._Replay("q", "queue:x", 0, slept).run(step, None)
    assert [at for _, at in sent] == [0, 1, 2, 3, 4]


@pytest.mark.long
def test_a_signal_ends_a_replay_that_waits_and_says_how_to_go_on(data, spawn, logstore):
    times = iter([NOW_MS] * 20)
    with library.open(data, clock=lambda: next(times, NOW_MS + 3_600_000)) as store:
        queue = store.queue("q")
        for _ in range(40):
            queue.publish(b"1")
    logstore("queue", "declare", "copy")
    words = ("--into", "queue:copy", "--only", "all", "--speed", "1")
    process = spawn("queue", "replay", "q", *words)
    until(lambda: len([it for it in data.glob("queues/*/*.log") if it.stat().st_size]) == 2)
    process.send(signal.SIGINT)
    code, _, errors = process.end()
    assert code == 130
    [line] = errors.splitlines()
    count = ready(logstore, "copy")
    assert line.startswith(f"logstore: stopped: replayed {count} messages of queue q into queue ")
    on = line.rpartition("--from ")[2]
    logstore("queue", "replay", "q", *words[:-2], "--from", on)
    assert ready(logstore, "copy") == 40


def ready(logstore, queue):
    return json.loads(logstore("queue", "describe", queue, "--json").out)["ready"]
