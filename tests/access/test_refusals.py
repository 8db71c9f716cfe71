"""Refusals as they are told: each with all that one needs to grant it, and not too many of them."""

import pytest

from logstore.access.identity import Identity, anonymous
from logstore.access.refusals import AGAIN_S, TOLD_MAX, Refusals

AL = Identity("al", "10.0.0.1")


class Told:
    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.now = 0.0
        self.refusals = Refusals(lambda: self.now)
        self._caplog = caplog

    def tell(self, name: str, who: Identity = AL) -> None:
        self.refusals.tell(who, "write", "topic", name, "no rule allows it")

    @property
    def lines(self) -> list[str]:
        found = [it.getMessage() for it in self._caplog.records if it.name == "logstore.access"]
        self._caplog.clear()
        return found


def test_a_refusal_says_who_wanted_what_from_where_and_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = Told(caplog)
    told.tell("orders")
    told.tell("orders", anonymous(""))
    assert told.lines == [
        "User:al from 10.0.0.1: write topic orders: refused: no rule allows it",
        "User:ANONYMOUS from this machine: write topic orders: refused: no rule allows it",
    ]


def test_a_client_that_tries_again_and_again_is_told_of_with_a_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = Told(caplog)
    for _ in range(1000):
        told.tell("orders")
    assert len(told.lines) == 1
    told.now = AGAIN_S
    told.tell("orders")
    assert told.lines == [
        "User:al from 10.0.0.1: write topic orders: refused 999 times more",
        "User:al from 10.0.0.1: write topic orders: refused: no rule allows it",
    ]


def test_names_that_a_client_makes_up_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    told = Told(caplog)
    for number in range(TOLD_MAX + 50):
        told.tell(f"t{number}")
    assert len(told.lines) == TOLD_MAX
    told.now = AGAIN_S
    told.tell("t0")
    assert told.lines == [
        "50 other requests were refused",
        "User:al from 10.0.0.1: write topic t0: refused: no rule allows it",
    ]


def test_a_name_can_neither_end_the_line_nor_speak_to_the_terminal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = Told(caplog)
    told.tell("a\nb\x1b[2J" + "x" * 1000, Identity("e\nve", "10.0.0.1\r"))
    [line] = told.lines
    assert line.isprintable()
    assert len(line) < 400
