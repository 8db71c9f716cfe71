"""What `logstore top` shows of a server, line by line."""

import pytest
from logstore_cli.dashboard import BAD, DIM, GOOD, WARN, grouped, lines, spark
from logstore_cli.show import span

NOW_MS = 1_800_000_000_000

OVERVIEW = {
    "version": "1.4.0",
    "uptime_s": 273_600,
    "health": {
        "state": "warning",
        "warnings": [
            {"what": "disk 91 % full", "object": "", "view": "#/server"},
            {"what": "stuck for 12 min", "object": "group billing", "view": "#/groups/billing"},
        ],
    },
    "flows": {
        "in_per_s": 12_340.4, "out_per_s": None, "waiting": "1204331",
        "doors": {
            "kafka": {"in_per_s": 11_900, "bytes_in_per_s": 3 << 20, "bytes_out_per_s": 0},
            "amqp": {"in_per_s": 440.4, "out_per_s": None},
            "resp": {"in_per_s": 0},
        },
    },
    "history": {"step_s": 10, "in": [0, 5, None, 10], "out": []},
    "slow_clients": 1,
    "stuck_total": 3,
    "stuck": [{"kind": "queue", "object": "mail", "detail": "1,203 unacked", "view": "",
               "since_ms": NOW_MS - 2_400_000}],
    "full": [
        {"what": "disk", "used": str(91 << 30), "limit": str(100 << 30), "share": 0.91,
         "full_in_s": 32_400, "unit": "bytes", "nearly": True},
        {"what": "files", "used": 87, "limit": 1024, "share": 0.085, "full_in_s": None},
    ],
    "doors": [
        {"name": "kafka", "address": "0.0.0.0:9093", "tls": True, "connections": 212},
        {"name": "resp", "address": "127.0.0.1:6379", "tls": False, "connections": 1},
    ],
    "jobs": [{"name": "compact", "object": "flights-1", "share": 0.62}],
    "counts": {"topics": 12, "groups": 1, "queues": 10_000, "connections": 213},
}  # fmt: skip


def text(line):
    return "".join(it.text for it in line).rstrip()


def shown(overview):
    return [text(line) for line in lines(overview, NOW_MS)]


def test_all_of_an_overview_is_shown():
    assert shown(OVERVIEW) == [
        "logstore 1.4.0  up 3 d 4 h  2 warnings",
        "  disk 91 % full",
        "  stuck for 12 min group billing",
        "12 topics  1 group  10,000 queues  213 connections",
        "",
        "FLOWS   in       12,340/s  ▁▅ █  kafka 11,900 amqp 440",
        "        out           -/s",
        "        waiting 1,204,331",
        "STUCK   queue mail  1,203 unacked, for 40 min",
        "          and 2 more",
        "        1 client too slow, cut off within the hour",
        "FULL    disk   91%  91.0 GiB of 100.0 GiB, full in ~ 9 h",
        "        files   8%  87 of 1,024",
        "DOORS   kafka TLS  0.0.0.0:9093           212 connections   3.0 MiB/s in",
        "        resp       127.0.0.1:6379         1 connection",
        "JOBS    compact flights-1  62%",
    ]


@pytest.mark.parametrize(
    ("state", "warnings", "told", "style"),
    [
        ("ok", [], "healthy", GOOD), ("", [], "-", DIM),
        ("warning", [{"what": "x"}], "1 warning", WARN),
        ("error", [{"what": "x"}, {"what": "y"}], "2 errors", BAD), ("error", [], "1 error", BAD),
    ],
)  # fmt: skip
def test_health_is_a_word_and_a_colour(state, warnings, told, style):
    line = lines({"health": {"state": state, "warnings": warnings}}, NOW_MS)[0]
    assert (line[-1].text, line[-1].style) == (told, style)


def test_warnings_that_are_not_listed_are_counted():
    health = {"state": "error", "warnings": [{"what": "x"}], "warnings_total": 25}
    assert shown({"health": health})[:3] == [
        "logstore   up -  25 errors", "  x", "  and 24 more",
    ]  # fmt: skip


def test_what_is_not_known_yet_is_a_dash_and_nothing_breaks():
    for empty in ({}, {"flows": {}, "health": {}, "history": {"in": [None]}, "counts": {}}):
        found = shown(empty)
        assert found[0] == "logstore   up -  -"
        assert "FULL    nothing that has a limit is known" in found
        assert "JOBS    none runs" in found


def test_names_from_outside_can_not_steer_the_terminal():
    hostile = "\x1b[2J\n[bold]x\u202e"
    overview = {
        "version": hostile,
        "slow_clients": 1,
        "stuck_total": 3,
        "stuck": [{"kind": "queue", "object": hostile, "detail": hostile}],
        "full": [{"what": hostile, "share": 1}],
        "doors": [{"name": hostile, "address": hostile}],
        "jobs": [{"name": hostile, "object": hostile}],
        "flows": {"doors": {hostile: {"in_per_s": 1}}},
        "health": {"state": "warning", "warnings": [{"what": hostile, "object": hostile}]},
    }
    assert all(line.isprintable() for line in shown(overview))


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"), (59.9, "59 s"), (60, "1 min"), (150, "2 min 30 s"), (2400, "40 min"),
        (3600, "1 h"), (7260, "2 h 1 min"), (86_400, "1 d"), (273_600, "3 d 4 h"),
        (999_999_999, "11574 d"), (-5, "0 s"),
    ],
)  # fmt: skip
def test_a_time_is_told_in_its_largest_units(seconds, told):
    assert span(seconds) == told


def test_a_history_is_bars_of_its_newest_values():
    assert spark([]) == ""
    assert spark([0, 0]) == "▁▁"
    assert spark([1, None, 2]) == "▅ █"
    assert spark([None] * 40 + [2]) == "█"
    assert len(spark(list(range(360)))) == 30
    assert spark(list(range(360)))[-1] == "█"


def test_large_numbers_come_as_texts():
    assert grouped("9223372036854775807") == "9,223,372,036,854,775,807"
    assert grouped(12.6) == "13"
