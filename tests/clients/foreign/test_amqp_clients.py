"""RabbitMQ clients of other languages: programs that do one exercise and check it themselves."""

import queue
import signal
import subprocess
from contextlib import ExitStack

import pytest
from serving import Serving
from speaking import DEADLINE_S, Program

EXERCISES = [
    "confirms", "returned", "prefetch", "dead letter", "priorities", "transactions", "reply to",
    "passive",
]  # fmt: skip


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    running = Serving(tmp_path_factory.mktemp("amqp") / "data", resp_port=-1, amqp_port=0)
    yield running
    code, errors = running.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


def do(command, server, exercise):
    host, port = server.amqp
    words = [*map(str, command), host, str(port), exercise]
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=2 * DEADLINE_S,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["done"]), (
        f"{exercise}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}\nthe server: {server.errors()}"
    )


class Exercises:
    client_name = ""

    @pytest.mark.parametrize("exercise", EXERCISES)
    def test_what_programs_do_all_day(self, broker, built, exercise):
        do(built(self.client_name), broker, exercise)

    def test_it_goes_on_when_the_server_was_killed_and_comes_back(self, start, built):
        recover(built(self.client_name), start)


def recover(command, start):
    """The program says that it is ready; the server is killed; it goes on with the next one."""
    server = start(resp_port=-1, amqp_port=0)
    host, port = server.amqp
    with ExitStack() as stack:
        program = Spoken([*command, host, str(port), "recovery"])
        stack.callback(program.kill)
        program.says("ready")
        server.stop(signal.SIGKILL)
        again = start(resp_port=-1, amqp_port=port)
        program.process.stdin.write("go\n")
        program.process.stdin.flush()
        program.says("done")
        code, errors = again.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


class Spoken(Program):
    """It says one word a line."""

    def says(self, word):
        """Wait until it says that, whatever it logs before."""
        line = ""
        while line.strip() != word:
            try:
                line = self._lines.get(timeout=2 * DEADLINE_S)
            except queue.Empty:
                raise AssertionError(f"it is not {word}:\n{self.complaints()}") from None
            assert line is not None, f"it ended before it was {word}:\n{self.complaints()}"


class TestAmqp091Go(Exercises):
    client_name = "amqp091-go"


class TestLapin(Exercises):
    client_name = "lapin"


class TestRabbitJava(Exercises):
    client_name = "rabbitmq-java"


def test_spring_amqp_listener_container(broker, built):
    """Manual and automatic acknowledgement, a rejected message in the dead letters, prefetch."""
    do(built("spring-amqp"), broker, "listener")


def test_spring_amqp_goes_on_when_the_server_was_killed(start, built):
    recover(built("spring-amqp"), start)


@pytest.mark.parametrize(
    "words",
    [
        ["--confirm", "50", "--flag", "persistent"],
        ["--quorum-queue", "--queue", "perf-q", "--confirm", "100", "--qos", "50"],
        ["--type", "topic", "--exchange", "perf-t", "--routing-key", "a.b", "--autoack"],
        ["--ptxsize", "10", "--ctxsize", "10"],
    ],
    ids=["confirms", "quorum", "topic", "transactions"],
)
def test_perf_test(broker, built, words):
    host, port = broker.amqp
    done = subprocess.run(
        [*built("perf-test"), "--uri", f"amqp://guest:guest@{host}:{port}/%2f",
         "--pmessages", "2000", "--cmessages", "2000", *words],
        capture_output=True, text=True, timeout=2 * DEADLINE_S, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "id: test-" in said, said
    assert "Exception" not in said, said
