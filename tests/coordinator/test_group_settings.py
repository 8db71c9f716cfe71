"""Settings of groups: what is given, what counts, and what is refused."""

import pytest

from logstore.broker.coordinator import group_settings
from logstore.broker.coordinator.group_settings import GroupSettingsTable
from logstore.config import Config
from logstore.errors import InvalidSetting, Refused, StorageFull, UnknownSetting
from logstore.settings import GROUP_SETTINGS

LOCK, LIMIT, RESET = (
    "share.record.lock.duration.ms", "share.delivery.count.limit", "share.auto.offset.reset",
)  # fmt: skip


def a_config(**given):
    return Config({name.replace("_", "."): (text, "test") for name, text in given.items()})


def test_its_own_count_before_the_nodes_and_these_before_the_default():
    table = GroupSettingsTable(a_config(group_share_delivery_count_limit="7"))
    assert table.of("g").share_delivery_count_limit == 7
    table.alter("g", {LIMIT: "3"}, ())
    found = {it.name: (it.value, it.source) for it in table.describe("g")}
    assert found.keys() == GROUP_SETTINGS.keys()
    assert (found[LIMIT], found[LOCK]) == ((3, "group"), (30_000, "default"))
    assert (table.of("g").share_delivery_count_limit, table.of("h")) == (3, table.of("i"))
    table.alter("g", {}, [LIMIT, LOCK])
    assert (table.of("g").share_delivery_count_limit, table.names()) == (7, [])


# Kafka 4.3's bounds.
BOUNDS = {
    "share.record.lock.duration.ms": (15_000, 60_000),
    "share.delivery.count.limit": (2, 10),
    "share.partition.max.record.locks": (100, 4000),
    "share.session.timeout.ms": (45_000, 60_000),
    "share.heartbeat.interval.ms": (5000, 15_000),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_numbers_lie_within_kafkas_bounds(name):
    table = GroupSettingsTable(Config())
    low, high = BOUNDS[name]
    for value in (low, high):
        table.alter("g", {name: str(value)}, ())
        assert table.given("g") == {name: str(value)}
    for value in (low - 1, high + 1, "x"):
        with pytest.raises(InvalidSetting, match=name):
            table.alter("g", {name: str(value)}, ())
    assert table.given("g") == {name: str(high)}


@pytest.mark.parametrize(
    "text",
    ["latest", "earliest", *map("by_duration:{}".format, [
        "P1D", "PT1H", "PT5M", "PT0.5S", "PT1.123456789S", "P7DT1H2M3.5S", "P0D", "PT0S",
    ])],
)  # fmt: skip
def test_places_to_begin_at_are_taken(text):
    table = GroupSettingsTable(Config())
    table.alter("g", {RESET: text}, ())
    assert table.of("g").share_auto_offset_reset == text


@pytest.mark.parametrize(
    "text",
    ["", "newest", "by_duration", "by_duration:", *map("by_duration:{}".format, [
        "P", "PT", "P1DT", "1D", "P1Y", "P1M", "P-1D", "-PT1S", "PT1S1M", "PT.5S", "P 1D", "PT1",
        "PT1.1234567890S", "P12345678D",
    ])],
)  # fmt: skip
def test_other_places_are_refused(text):
    with pytest.raises(InvalidSetting):
        GroupSettingsTable(Config()).alter("g", {RESET: text}, ())


@pytest.mark.parametrize(
    ("group", "settings", "reset", "error"),
    [
        ("g", {"share.session.timeout": "45000"}, (), UnknownSetting),
        ("g", {}, ["segment.bytes"], UnknownSetting),
        ("g", {"share.isolation.level": "serializable"}, (), InvalidSetting),
        ("g", {"share.renew.acknowledge.enable": "maybe"}, (), InvalidSetting),
        ("g", {"errors.deadletterqueue.topic.name": "a b"}, (), InvalidSetting),
        ("", {LIMIT: "3"}, (), Refused),
        ("g" * 256, {LIMIT: "3"}, (), Refused),
    ],
)
def test_what_cant_be_changes_nothing(group, settings, reset, error):
    kept = []
    table = GroupSettingsTable(Config(), keep=lambda *it: kept.append(it))
    for change in (table.check, table.alter):
        with pytest.raises(error):
            change(group, {LOCK: "15000", **settings}, reset)
    assert (table.names(), kept) == ([], [])


def test_what_could_not_be_kept_does_not_count():
    def full(group, given):
        raise StorageFull("full")

    table = GroupSettingsTable(Config(), {"g": {LIMIT: "3"}}, full)
    with pytest.raises(StorageFull):
        table.alter("g", {LIMIT: "4"}, ())
    assert table.of("g").share_delivery_count_limit == 3
    table.alter("g", {LIMIT: "3"}, ())  # nothing is to be kept


def test_only_so_many_groups_have_their_own(monkeypatch):
    monkeypatch.setattr(group_settings, "GROUPS_MAX", 2)
    table = GroupSettingsTable(Config(), {"g": {LIMIT: "3"}})
    table.alter("h", {LIMIT: "4"}, ())
    with pytest.raises(Refused, match="2 groups have their own settings"):
        table.alter("i", {LIMIT: "5"}, ())
    table.alter("i", {}, [LIMIT])
    table.alter("h", {LOCK: "15000"}, ())
    table.alter("g", {}, [LIMIT])
    table.alter("i", {LIMIT: "5"}, ())
    assert table.names() == ["h", "i"]


def test_what_was_kept_and_is_no_setting_is_told_and_left_out(caplog):
    kept = {"g": {LIMIT: "99"}, "h": {"share.new.one": "1"}, "i": {LIMIT: "4"}}
    table = GroupSettingsTable(Config(), kept)
    assert table.names() == ["i"]
    assert [it.getMessage().split(" has ")[0] for it in caplog.records] == ["group g", "group h"]
