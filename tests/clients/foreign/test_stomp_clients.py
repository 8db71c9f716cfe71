"""STOMP clients of other languages: programs that do one exercise and check it themselves."""

import pytest
from exercising import do, recover
from serving import Serving


@pytest.fixture(scope="module")
def stomp(tmp_path_factory):
    running = Serving(
        tmp_path_factory.mktemp("stomp") / "data", resp_port=-1, stomp_port=0, http_port=0
    )
    yield running
    code, errors = running.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


class TestRubyStomp:
    def test_what_programs_do_all_day(self, stomp, built):
        do(built("Ruby stomp"), stomp, "stomp", "stomp")

    def test_it_goes_on_when_the_server_was_killed_and_comes_back(self, start, built):
        recover(built("Ruby stomp"), start, "stomp")


class TestVertxStomp:
    def test_what_programs_do_all_day(self, stomp, built):
        do(built("Vert.x STOMP"), stomp, "stomp", "tasks")

    def test_it_goes_on_when_the_server_was_killed_and_comes_back(self, start, built):
        recover(built("Vert.x STOMP"), start, "stomp")
