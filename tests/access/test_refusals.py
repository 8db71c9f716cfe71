"""Refusals as they are told: each with all that one needs to grant it, and not too many of them."""

import threading

import pytest

from logstore.access.identity import Identity, anonymous
from logstore.access.refusals import AGAIN_S, AUDITED_MAX, MORE, TOLD_MAX, Refusals

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


class Heard:
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def tell(self, event: str, who: Identity, what: str = "", outcome: str = "") -> None:
        self.told.append((who.user, what))


def test_one_who_is_refused_very_often_takes_no_more_of_the_audit_log_and_hides_no_other() -> None:
    heard, now = Heard(), [0.0]
    refusals = Refusals(lambda: now[0], heard)
    for number in range(AUDITED_MAX + 50):
        refusals.tell(AL, "read", "topic", f"t{number}", "no rule allows it")
    refusals.tell(Identity("bo", "10.0.0.1"), "read", "topic", "t", "no rule allows it")
    assert heard.told[AUDITED_MAX - 1 :] == [
        ("al", f"read topic t{AUDITED_MAX - 1}"), ("al", MORE), ("bo", "read topic t"),
    ]  # fmt: skip
    now[0] = AGAIN_S
    refusals.tell(AL, "read", "topic", "again", "no rule allows it")
    assert heard.told[-1] == ("al", "read topic again")


def test_no_more_of_a_name_is_kept_than_is_told(caplog: pytest.LogCaptureFixture) -> None:
    told = Told(caplog)
    for number in range(3):
        told.tell("x" * 1_000_000 + str(number))
    assert len(told.lines) == 1
    told.now = AGAIN_S
    told.tell("y")
    assert "refused 2 times more" in told.lines[0]


def test_refusals_of_many_threads_are_all_counted(caplog: pytest.LogCaptureFixture) -> None:
    told = Told(caplog)

    def refuse() -> None:
        for _ in range(1000):
            told.tell("orders")

    threads = [threading.Thread(target=refuse) for _ in range(4)]
    for it in threads:
        it.start()
    for it in threads:
        it.join()
    told.now = AGAIN_S
    told.tell("orders")
    assert "refused 3999 times more" in told.lines[1]


def test_a_name_can_neither_end_the_line_nor_speak_to_the_terminal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = Told(caplog)
    told.tell("a\nb\x1b[2J" + "x" * 1000, Identity("e\nve", "10.0.0.1\r"))
    [line] = told.lines
    assert line.isprintable()
    assert len(line) < 400
