"""RabbitMQ clients of other languages: programs that do one exercise and check it themselves."""

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
        server = start(resp_port=-1, amqp_port=0)
        host, port = server.amqp
        with ExitStack() as stack:
            words = [*built(self.client_name), host, str(port), "recovery"]
            program = Spoken(words)
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
        line = self._lines.get(timeout=2 * DEADLINE_S)
        assert line is not None, f"it ended before it was {word}:\n{self.complaints()}"
        assert line.strip() == word, self.complaints()


class TestAmqp091Go(Exercises):
    client_name = "amqp091-go"


class TestRabbitJava(Exercises):
    client_name = "rabbitmq-java"


def test_spring_amqp_listener_container(broker, built):
    """Manual and automatic acknowledgement, a rejected message in the dead letters, prefetch."""
    do(built("spring-amqp"), broker, "listener")
