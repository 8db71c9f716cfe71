"""Redis clients of other languages, and what applications build on them, with the server's keys."""

import pytest
from exercising import do, recover
from serving import Serving


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    running = Serving(tmp_path_factory.mktemp("keys") / "data")
    yield running
    code, errors = running.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


OF_NODE = [
    "ioredis", "node-redis", "client-side caching", "express sessions", "rate limits",
    "keyv and cache-manager",
]  # fmt: skip


class TestNode:
    @pytest.mark.parametrize("exercise", OF_NODE)
    def test_what_programs_do_all_day(self, keys, built, exercise):
        do(built("keys Node"), keys, "redis", exercise)

    def test_they_go_on_when_the_server_was_killed_and_comes_back(self, start, built):
        recover(built("keys Node"), start, "resp")


class TestGoRedis:
    def test_what_programs_do_all_day(self, keys, built):
        do(built("go-redis"), keys, "redis", "tasks")

    def test_it_goes_on_when_the_server_was_killed_and_comes_back(self, start, built):
        recover(built("go-redis"), start, "resp")


class TestJava:
    @pytest.mark.parametrize("exercise", ["jedis", "lettuce", "client-side caching"])
    def test_what_programs_do_all_day(self, keys, built, exercise):
        do(built("keys Java"), keys, "redis", exercise)

    def test_lettuce_goes_on_when_the_server_was_killed_and_comes_back(self, start, built):
        recover(built("keys Java"), start, "resp")


class TestRuby:
    @pytest.mark.parametrize("exercise", ["redis", "rails cache"])
    def test_what_programs_do_all_day(self, keys, built, exercise):
        do(built("Ruby keys"), keys, "redis", exercise)

    def test_sidekiq_does_its_jobs(self, keys, built):
        do(built("Ruby sidekiq"), keys, "redis", "sidekiq")
