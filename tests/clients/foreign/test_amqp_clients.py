"""RabbitMQ clients of other languages: programs that do one exercise and check it themselves."""

import subprocess

import pytest
from exercising import do, recover
from serving import Serving
from speaking import DEADLINE_S

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


class Exercises:
    client_name = ""

    @pytest.mark.parametrize("exercise", EXERCISES)
    def test_what_programs_do_all_day(self, broker, built, exercise):
        do(built(self.client_name), broker, "amqp", exercise)

    def test_it_goes_on_when_the_server_was_killed_and_comes_back(self, start, built):
        recover(built(self.client_name), start, "amqp")


class TestAmqp091Go(Exercises):
    client_name = "amqp091-go"


class TestLapin(Exercises):
    client_name = "lapin"


class TestRabbitJava(Exercises):
    client_name = "rabbitmq-java"


def test_spring_amqp_listener_container(broker, built):
    """Manual and automatic acknowledgement, a rejected message in the dead letters, prefetch."""
    do(built("spring-amqp"), broker, "amqp", "listener")


def test_spring_amqp_goes_on_when_the_server_was_killed(start, built):
    recover(built("spring-amqp"), start, "amqp")


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
