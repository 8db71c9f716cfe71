"""Sizes and durations as people write them, and where they are taken."""

import pytest

import logstore
from logstore.amounts import amount
from logstore.config import Config, check_topic_settings, plain_topic_settings
from logstore.errors import InvalidSetting
from logstore.settings import ChannelRule


@pytest.mark.parametrize(
    ("text", "unit", "number"),
    [
        ("10MB", "bytes", 10_000_000),
        ("10MiB", "bytes", 10 << 20),
        ("512KiB", "bytes", 512 << 10),
        ("1kB", "bytes", 1000),
        ("1KB", "bytes", 1000),
        ("2GB", "bytes", 2 * 10**9),
        ("1.5GiB", "bytes", 3 << 29),
        ("1 TiB", "bytes", 1 << 40),
        ("7B", "bytes", 7),
        ("10MB", "bytes/s", 10_000_000),
        ("500ms", "ms", 500),
        ("90s", "ms", 90_000),
        ("1.5h", "ms", 5_400_000),
        ("7d", "ms", 604_800_000),
        ("2w", "ms", 14 * 86_400_000),
        ("2m", "s", 120),
        ("1h", "minutes", 60),
    ],
)
def test_what_a_text_with_a_unit_stands_for(text, unit, number):
    assert amount(text, unit) == number


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("10", "bytes"), ("10mb", "bytes"), ("10M", "bytes"), ("7d", "bytes"), ("1.5B", "bytes"),
        ("7", "ms"), ("10MB", "ms"), ("7D", "ms"), ("0.5ms", "ms"), ("-7d", "ms"), ("1h2m", "ms"),
        ("\u0661d", "ms"), (".5h", "ms"), ("500ms", "s"), ("7d\n", "ms"), ("", "ms"),
    ],
)  # fmt: skip
def test_what_is_none_or_no_whole_number(text, unit):
    assert amount(text, unit) is None


def test_the_file_and_the_environment_take_them(tmp_path, monkeypatch):
    file = tmp_path / "logstore.toml"
    file.write_text(
        '"upkeep.interval.ms" = "10m"\n[topic]\n"segment.bytes" = "64MiB"\n'
        '[[channel]]\npattern = "a"\nhistory = "2w"\n'
    )
    environment = {"LOGSTORE_TOPIC_RETENTION_MS": "7d", "LOGSTORE_MEMORY_CLIENTS_MAX_BYTES": "1GB"}
    config = Config.load(file, environment)
    topic = config.topic({})
    assert (topic.segment_bytes, topic.retention_ms) == (64 << 20, 604_800_000)
    assert config.store.upkeep_interval_ms == 600_000
    assert config.store.memory_clients_max_bytes == 10**9
    assert config.channels == (ChannelRule("a", 14 * 86_400_000),)
    assert config.by_option("upkeep.interval.ms", "1h", "-x").store.upkeep_interval_ms == 3_600_000


@pytest.mark.parametrize(
    ("name", "text", "hint"),
    [
        (
            "topic.retention.ms",
            "7 days",
            "ms, or a number with a unit, such as 90s, 1h or 7d (age",
        ),
        ("topic.segment.bytes", "10mb", "such as 512KiB or 10MB (MB: 10^6, MiB: 2^20)"),
        ("topic.segment.bytes", "9TB", "topic.segment.bytes=9000000000000: must be a whole number"),
        ("num.partitions", "1kB", "num.partitions=1kB: must be a whole number"),
    ],
)
def test_what_is_wrong_is_refused_with_an_example(name, text, hint):
    with pytest.raises(InvalidSetting) as caught:
        Config({name: (text, "here")})
    assert hint in str(caught.value)


def test_of_another_clusters_settings_the_name_tells_the_unit():
    given = {"x.y.ms": "1h", "max.bytes": "1KiB", "x.ms": "soon", "x.of": "1h", "retention.ms": "9"}
    assert plain_topic_settings(given) == {
        "x.y.ms": "3600000", "max.bytes": "1024", "x.ms": "soon", "x.of": "1h", "retention.ms": "9",
    }  # fmt: skip


def test_kafkas_clients_and_the_library_keep_kafkas_forms(tmp_path):
    with pytest.raises(InvalidSetting, match=r"retention\.ms=7d: must be a whole number"):
        check_topic_settings({"retention.ms": "7d"})
    with (
        logstore.open(tmp_path) as store,
        pytest.raises(InvalidSetting, match=r"retention\.ms=7d: must be a whole number"),
    ):
        store.create_topic("t", settings={"retention.ms": "7d"})
