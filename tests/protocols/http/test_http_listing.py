"""Lists of any kind of row: filtered, sorted, a page at a time, and never too many at once."""

import json

import pytest
from http_kit import HttpPeer, answers, request
from turns_by_hand import Turns

from logstore.http.asks import OPEN
from logstore.http.routes import Route, Router
from logstore.protocols.http import listing
from logstore.protocols.http.listing import LIST_QUERY, ROWS_AT_ONCE, Columns
from logstore.slices import UNITS, Slices

ROWS = [("b", 2), ("aa", 1), ("ab", 2), ("\udcff", 0), ("c.d", 2)]
COLUMNS = Columns(
    name=lambda row: row[0],
    by={"name": lambda row: row[0], "size": lambda row: row[1]},
    default=lambda row: row[0],
)


def peer_of(rows, sees=None, **given):
    def handler(door, call):
        listing.show(door, call, rows, COLUMNS, lambda row: row[0], sees)

    return HttpPeer(router=Router([Route("GET", "/rows", handler, "", OPEN, LIST_QUERY)]), **given)


def ask(query, rows=ROWS):
    [(status, _, body)] = answers(peer_of(rows).say(request("GET", f"/rows?{query}")))
    return status, json.loads(body)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["aa", "ab", "b", "c.d", "\udcff"]),
        ("sort=name", ["aa", "ab", "b", "c.d", "\udcff"]),
        ("sort=-name", ["\udcff", "c.d", "b", "ab", "aa"]),
        ("sort=size", ["\udcff", "aa", "ab", "b", "c.d"]),
        ("sort=-size", ["ab", "b", "c.d", "aa", "\udcff"]),  # equals stay by name
        ("filter=b", ["ab", "b"]),
        ("filter=.", ["c.d"]),
        ("filter=.&regex=false", ["c.d"]),
        ("filter=^a.&regex=true", ["aa", "ab"]),
        ("filter=%ff", ["\udcff"]),
        ("filter=^%ff$&regex=true", ["\udcff"]),
        ("sort=-size&page_size=2&page=2", ["c.d", "aa"]),
        ("page_size=2&page=4", []),
        ("filter=zz", []),
    ],
)
def test_rows_are_found_and_ordered(query, found):
    status, answer = ask(query)
    assert (status, answer["items"]) == (200, found)


def test_a_page_says_how_many_there_are():
    assert ask("filter=b&page_size=1&page=2")[1] == {
        "items": ["b"], "page": 2, "page_size": 1, "pages": 2, "total": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("sort=sise", "sort=sise: no such column (did you mean size?); it takes name, size"),
        ("sort=-", "no such column"),
        ("filter=(&regex=true", "missing ): ("),
        ("filter=a&regex=1", "regex=1: must be true or false"),
        ("filter=" + "a" * 1001 + "&regex=true", "over 1000 bytes"),
    ],
)
def test_what_can_not_be_listed_so_is_said(query, why):
    status, answer = ask(query)
    assert status == 400
    assert why in answer["error"]


def test_ten_thousand_rows_keep_nobody_waiting():
    turns = Turns()
    slices = Slices(turns.soon)
    rows = [(f"{n * 7919 % 10_000:05}", n % 3) for n in range(10_000)]
    peer = peer_of(rows, slices=slices)
    assert peer.say(request("GET", "/rows?sort=-size&page_size=3")) == b""
    while turns.left:
        turns.over()
    [(_, _, body)] = answers(peer.out())
    assert json.loads(body)["total"] == 10_000
    assert json.loads(body)["items"] == sorted(name for name, size in rows if size == 2)[:3]
    assert slices.longest < UNITS + ROWS_AT_ONCE


def test_who_may_see_none_of_ten_thousand_rows_keeps_nobody_waiting_either():
    turns, looked_at = Turns(), []
    peer = peer_of(
        ((str(n), n) for n in range(10_000)), looked_at.append, slices=Slices(turns.soon)
    )
    assert peer.say(request("GET", "/rows")) == b""
    while turns.left:
        before = len(looked_at)
        turns.over()
        assert len(looked_at) - before <= UNITS + ROWS_AT_ONCE
    [(_, _, body)] = answers(peer.out())
    assert (json.loads(body)["total"], len(looked_at)) == (0, 10_000)
