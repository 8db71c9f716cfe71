import dataclasses
import re
from pathlib import Path

import pytest

import logstore
from logstore import config as module
from logstore.config import Config, parse, takes, text_of
from logstore.errors import Failed, InvalidSetting, UnknownSetting
from logstore.settings import (
    DAY_MS,
    ELSEWHERE,
    FILE_SETTINGS,
    GROUP_SETTINGS,
    STORE_SETTINGS,
    TOPIC_SETTINGS,
)
from logstore.variables import of_a_service, variable

# The topic settings that Kafka's clients and operators use.
KAFKAS = [
    "cleanup.policy",
    "retention.ms",
    "retention.bytes",
    "segment.ms",
    "segment.bytes",
    "index.interval.bytes",
    "segment.index.bytes",
    "compression.type",
    "max.message.bytes",
    "message.timestamp.type",
    "message.timestamp.before.max.ms",
    "message.timestamp.after.max.ms",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "max.compaction.lag.ms",
    "delete.retention.ms",
    "errors.deadletterqueue.group.enable",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "min.insync.replicas",
    "preallocate",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.zstd.level",
    "leader.replication.throttled.replicas",
    "follower.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "remote.log.copy.disable",
    "remote.log.delete.on.disable",
    "remote.storage.enable",
    "segment.jitter.ms",
    "unclean.leader.election.enable",
]
OURS = [
    "compression.sealed", "deduplication.header", "deduplication.window.ms", "delivery.schedule",
    "retention.groups", "retention.groups.max.ms",
]  # fmt: skip
SETTINGS = {
    **{f"topic.{name}": f for name, f in TOPIC_SETTINGS.items()},
    **{f"group.{name}": f for name, f in GROUP_SETTINGS.items()},
    **STORE_SETTINGS,
}
NUMBERS = {
    name: field
    for name, field in SETTINGS.items()
    if isinstance(field.default, int | float) and not isinstance(field.default, bool)
}
TEXTS = {
    name: field
    for name, field in SETTINGS.items()
    if isinstance(field.default, str) and not field.metadata["words"]
}
WORDS = {
    name: field
    for name, field in SETTINGS.items()
    if isinstance(field.default, str) and name not in TEXTS
}
FLAGS = {name: field for name, field in SETTINGS.items() if isinstance(field.default, bool)}
LISTS = {
    name: field
    for name, field in SETTINGS.items()
    if isinstance(field.default, tuple) and not field.metadata["names"]
}
NAMES = {name: field for name, field in SETTINGS.items() if field.metadata["names"]}


def test_every_setting_that_people_use_with_kafka_is_there():
    assert sorted(set(TOPIC_SETTINGS) - set(OURS)) == sorted(KAFKAS)
    assert set(OURS) < set(TOPIC_SETTINGS)


def test_every_setting_is_of_a_kind_that_is_tested_here():
    assert len(SETTINGS) == len(NUMBERS) + len(WORDS) + len(TEXTS) + len(FLAGS) + len(LISTS) + len(
        NAMES
    )


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_has_a_reason_and_a_default_that_it_takes(name):
    field = SETTINGS[name]
    assert field.metadata["reason"]
    assert parse(name, field, text_of(field.default)) == field.default
    assert takes(field)


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_taken_up_to_their_bounds_and_refused_beyond(name):
    field = NUMBERS[name]
    low, high = field.metadata["low"], field.metadata["high"]
    assert parse(name, field, f" {low} ") == low
    assert parse(name, field, str(high)) == high
    for text in (str(low - 1), str(high + 1), "", "many", "nan", "1e999", "0x10", "1 2"):
        with pytest.raises(InvalidSetting) as caught:
            parse(name, field, text)
        assert f"{name}={text}: must be " in str(caught.value)
        assert f" from {low} to {high}" in str(caught.value)
        assert field.metadata["reason"] in str(caught.value)


THROTTLED = [name for name in NAMES if name.endswith("throttled.replicas")]


@pytest.mark.parametrize("name", THROTTLED)
def test_replicas_are_named_as_kafka_names_them(name):
    field = NAMES[name]
    assert parse(name, field, "0:1, 12:345") == ("0:1", "12:345")
    assert (parse(name, field, "*"), parse(name, field, "")) == (("*",), ())
    for text in ("0", "0:", "a:b", "0:1,,1:1", "0:-1", "**"):
        with pytest.raises(
            InvalidSetting, match="must be a comma-separated list of partition:node"
        ):
            parse(name, field, text)


def test_a_level_that_gzip_does_not_have_is_refused():
    field = TOPIC_SETTINGS["compression.gzip.level"]
    with pytest.raises(InvalidSetting, match="from -1 to 9, not 0"):
        parse("compression.gzip.level", field, "0")


def test_levels_of_parts_are_told_by_their_names():
    field = NAMES["log.levels"]
    assert parse("log.levels", field, "kafka=info, turn=error") == ("kafka=info", "turn=error")
    assert parse("log.levels", field, "") == ()
    for text in ("kafka", "kafka=", "kafak=info", "kafka=loud", "kafka=info,,", "kafka=info=info"):
        with pytest.raises(
            InvalidSetting, match="part=level, where a part is one of access, aio, amqp"
        ):
            parse("log.levels", field, text)


def test_hosts_are_names_without_ports():
    field = NAMES["http.hosts"]
    assert parse("http.hosts", field, "a.example, b") == ("a.example", "b")
    assert parse("http.hosts", field, "") == ()
    for text in ("a,,b", ",", "http://a", "a b", "a/b"):
        with pytest.raises(
            InvalidSetting, match=r"must be a comma-separated list of host\.example"
        ):
            parse("http.hosts", field, text)


@pytest.mark.parametrize(
    "name",
    [
        it for it in NAMES
        if it not in (*THROTTLED, "log.levels", "http.hosts", "cluster.bootstrap.servers")
    ],
)  # fmt: skip
def test_names_are_any_and_may_be_none(name):
    field = NAMES[name]
    assert parse(name, field, "audit, billing,audit") == ("audit", "billing")
    assert parse(name, field, " ") == ()
    for text in ("a,,b", ",", "a,"):
        with pytest.raises(InvalidSetting, match="must be a comma-separated list of names"):
            parse(name, field, text)


@pytest.mark.parametrize("name", [*WORDS, *FLAGS, *LISTS])
def test_words_are_taken_as_listed_and_all_else_refused(name):
    field = SETTINGS[name]
    good = field.metadata["words"] or ("true", "false")
    for word in good:
        assert text_of(parse(name, field, word)) == word
    wrong = () if field.metadata["empty"] else ("",)
    for text in (*wrong, "nosuch", f"{good[0]} {good[-1]}", f"{good[0]},nosuch", "1"):
        with pytest.raises(InvalidSetting) as caught:
            parse(name, field, text)
        assert all(word in str(caught.value) for word in good)


def test_a_text_is_taken_if_it_looks_as_it_should():
    field = SETTINGS["kafka.advertised.address"]
    for good in ("kafka.example.org:9092", "10.0.0.1:1", "[::1]:9092", ""):
        assert parse("kafka.advertised.address", field, good) == good
    for bad in ("host", "host:", ":9092", "host:port", "a b:1"):
        with pytest.raises(InvalidSetting, match="must be a text"):
            parse("kafka.advertised.address", field, bad)


def test_a_list_of_words_is_taken_in_any_order_once_each():
    field = TOPIC_SETTINGS["cleanup.policy"]
    assert parse("", field, "compact, delete") == ("compact", "delete")
    assert parse("", field, "delete,delete") == ("delete",)


@pytest.mark.parametrize("text", ["a\nb", "\x1b[31m", "1\r"])
def test_a_wrong_value_can_not_break_the_line_of_its_error(text):
    with pytest.raises(InvalidSetting) as caught:
        parse("segment.bytes", TOPIC_SETTINGS["segment.bytes"], f"x{text}x")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("segments.bytes", "segment.bytes"),
        ("retention.msec", "retention.ms"),
        ("compression.typ", "compression.type"),
        ("flush_messages", "flush.messages"),
    ],
)
def test_an_unknown_topic_setting_names_the_nearest(wrong, right, tmp_path):
    with logstore.open(tmp_path / "data") as store:
        with pytest.raises(UnknownSetting, match=rf"'{wrong}' \(did you mean {right}\?\)"):
            store.create_topic("t", settings={wrong: "1"})
        assert store.topics() == []
        store.create_topic("t")
        for change in ({"settings": {wrong: "1"}}, {"reset": [wrong]}):
            with pytest.raises(UnknownSetting, match=rf"did you mean {right}\?"):
                store.alter_topic("t", **change)


def test_what_resembles_nothing_is_refused_without_advice():
    with pytest.raises(UnknownSetting, match=r"'zzz'$"):
        module.topic_setting("zzz")


# Precedence and sources


def open_with(tmp_path, monkeypatch, *, file="", environment=None, **options):
    (tmp_path / "data").mkdir(exist_ok=True)
    (tmp_path / "data" / "logstore.toml").write_text(file, "utf-8")
    for name, text in (environment or {}).items():
        monkeypatch.setenv(name, text)
    return logstore.open(tmp_path / "data", **options)


FILE = 'num.partitions = 3\n[topic]\nsegment.bytes = 1000\ncleanup.policy = ["compact", "delete"]\n'


def test_the_topic_wins_over_the_environment_over_the_file_over_the_default(tmp_path, monkeypatch):
    environment = {"LOGSTORE_TOPIC_SEGMENT_BYTES": "2000"}
    file = str(tmp_path / "data" / "logstore.toml")
    with open_with(tmp_path, monkeypatch, file=FILE, environment=environment) as store:
        topic = store.create_topic("t", settings={"segment.index.bytes": "1200"})
        assert len(topic.partitions) == 3
        chosen = {it.name: (it.value, it.source) for it in store.describe_topic("t")}
        assert chosen["segment.index.bytes"] == (1200, "topic")
        assert chosen["segment.bytes"] == (2000, "environment LOGSTORE_TOPIC_SEGMENT_BYTES")
        assert chosen["cleanup.policy"] == (("compact", "delete"), f"file {file}")
        assert chosen["segment.ms"] == (7 * DAY_MS, "default")
        assert topic.settings.segment_bytes == 2000
        assert topic.settings.cleanup_policy == ("compact", "delete")
        assert topic.partitions[0].settings == topic.settings
        store.alter_topic("t", {"segment.bytes": "3000"})
        chosen = {it.name: (it.value, it.source) for it in store.describe_topic("t")}
        assert chosen["segment.bytes"] == (3000, "topic")
        described = {it.name: (it.value, it.source) for it in store.config.describe()}
        assert described["num.partitions"] == (3, f"file {file}")
        assert described["topic.segment.bytes"][0] == 2000
        assert described["files.open.max"] == (256, "default")


def test_describe_lists_every_setting_with_default_and_reason(tmp_path):
    assert {it.name for it in Config().describe()} == set(SETTINGS)
    for chosen in Config().describe():
        assert chosen.value == chosen.default
        assert (chosen.source, bool(chosen.reason)) == ("default", True)
    with logstore.open(tmp_path / "data") as store:
        store.create_topic("t")
        assert [it.name for it in store.describe_topic("t")] == list(TOPIC_SETTINGS)


def test_settings_of_the_process_have_their_variable(tmp_path, monkeypatch):
    for name, field in SETTINGS.items():
        value = text_of(field.default)
        monkeypatch.setenv("LOGSTORE_" + name.replace(".", "_").upper(), value)
    with logstore.open(tmp_path / "data") as store:
        for chosen in store.config.describe():
            assert chosen.source.startswith("environment LOGSTORE_")
            assert chosen.value == chosen.default


@pytest.fixture
def warnings(monkeypatch, caplog):
    monkeypatch.setattr("logstore.config._warned", set())
    return lambda: [record.getMessage() for record in caplog.records]


def test_unknown_variables_are_one_warning_that_names_the_nearest(tmp_path, monkeypatch, warnings):
    environment = {"LOGSTORE_TOPIC_SEGMENTS_BYTES": "1", "LOGSTORE_HOME": "/srv"}
    for _ in range(2):
        open_with(tmp_path, monkeypatch, environment=environment).close()
    [warning] = warnings()
    near = "LOGSTORE_TOPIC_SEGMENTS_BYTES (did you mean LOGSTORE_TOPIC_SEGMENT_BYTES?)"
    assert near in warning
    assert "LOGSTORE_HOME" in warning


SERVICE = {
    "LOGSTORE_PORT": "tcp://10.96.0.12:9092",
    "LOGSTORE_PORT_9092_TCP": "tcp://10.96.0.12:9092",
    "LOGSTORE_PORT_9092_TCP_PROTO": "tcp",
    "LOGSTORE_PORT_9092_TCP_PORT": "9092",
    "LOGSTORE_PORT_9092_TCP_ADDR": "10.96.0.12",
    "LOGSTORE_PORT_53_UDP": "udp://10.96.0.12:53",
    "LOGSTORE_PORT_53_UDP_ADDR": "10.96.0.12",
    "LOGSTORE_PORT_7_SCTP_PROTO": "sctp",
    "LOGSTORE_SERVICE_HOST": "10.96.0.12",
    "LOGSTORE_SERVICE_PORT": "9092",
    "LOGSTORE_SERVICE_PORT_KAFKA": "9092",
    "LOGSTORE_SERVICE_PORT_REDIS_DOOR": "6379",
    "LOGSTORE_DATA_SERVICE_HOST": "10.96.0.13",
    "LOGSTORE_WEB_PORT_80_TCP_ADDR": "10.96.0.13",
    # of a Service called logstore-kafka, or logstore-resp: names of settings
    "LOGSTORE_KAFKA_PORT": "tcp://10.96.0.13:9092",
    "LOGSTORE_RESP_PORT": "udp://10.96.0.13:6379",
    "LOGSTORE_NUM_PARTITIONS": "sctp://10.96.0.13:6379",
}


def test_variables_of_a_kubernetes_service_are_ignored_in_silence(tmp_path, monkeypatch, warnings):
    with open_with(tmp_path, monkeypatch, environment=SERVICE) as store:
        assert {it.source for it in store.config.describe()} == {"default"}
    assert warnings() == []


def test_the_rules_for_a_service_leave_every_setting_its_variable():
    for name, field in SETTINGS.items():
        assert not of_a_service(variable(name), text_of(field.default))


def test_a_wrong_variable_stops_the_open(tmp_path, monkeypatch):
    with pytest.raises(
        InvalidSetting, match=r"num\.partitions=none: must be a whole number from 1"
    ):
        open_with(tmp_path, monkeypatch, environment={"LOGSTORE_NUM_PARTITIONS": "none"})


@pytest.mark.parametrize(("name", "here"), ELSEWHERE.items())
def test_a_setting_of_another_server_leads_to_one_that_there_is(name, here):
    assert name not in FILE_SETTINGS
    settings = set(re.findall(r"[a-z]+(?:\.[a-z]+)+", here))
    assert settings <= FILE_SETTINGS.keys()
    assert settings or here in ("--data DIR", "`logstore user add`")


def test_variables_that_say_where_things_are_are_no_settings(tmp_path, monkeypatch, warnings):
    environment = {"LOGSTORE_DATA": "/x", "LOGSTORE_CONFIG": "/y"}
    open_with(tmp_path, monkeypatch, environment=environment).close()
    assert warnings() == []
    open_with(tmp_path, monkeypatch, environment={"LOGSTORE_DATE": "/x"}).close()
    assert "LOGSTORE_DATE (did you mean LOGSTORE_DATA?)" in warnings()[0]


@pytest.mark.parametrize(
    ("file", "error", "sentence"),
    [
        ("num.partition = 3", UnknownSetting, r"no setting 'num\.partition' \(did you mean num\.p"),
        ("[topics]\nsegment.bytes = 1", UnknownSetting, r"did you mean topic\.segment\.bytes\?"),
        ("log.retention.hours = 1", UnknownSetting, r"did you mean topic\.retention\.ms\?"),
        ("log.retention.bytes = 1", UnknownSetting, r"did you mean topic\.retention\.bytes\?"),
        ("port = 1", UnknownSetting, r"did you mean kafka\.port, resp\.port or amqp\.port\?"),
        (
            '[[channel]]\nname = "x"',
            UnknownSetting,
            r"\[\[channel\]\]: no setting 'name'; there are pattern, history$",
        ),
        ("segment.bytes = 1", UnknownSetting, r"did you mean topic\.segment\.bytes\?"),
        (
            "[topic]\nsegment.bytes = 1",
            InvalidSetting,
            r"topic\.segment\.bytes=1: must be .* from 14",
        ),
        ('num.partitions = "x"', InvalidSetting, r"num\.partitions=x: must be"),
        ("num.partitions = 1.5", InvalidSetting, r"num\.partitions=1\.5: must be"),
        ("num.partitions = true", InvalidSetting, r"num\.partitions=true: must be"),
        ("num.partitions = 1979-05-27", InvalidSetting, r"must be a whole number"),
        ("num.partitions = [[1], 2]", InvalidSetting, r"must be a whole number"),
        ("not TOML", InvalidSetting, r"logstore\.toml: not TOML: "),
    ],
)
def test_a_wrong_file_stops_the_open(tmp_path, monkeypatch, file, error, sentence):
    with pytest.raises(error, match=sentence) as caught:
        open_with(tmp_path, monkeypatch, file=file)
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["logstore.toml"]


def test_a_directory_that_can_not_be_looked_into_is_named_itself(tmp_path, monkeypatch):
    def refuse(path, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)  # root may look everywhere
    with pytest.raises(Failed) as caught:
        Config.load(tmp_path / "logstore.toml", {})
    assert str(caught.value) == f"{tmp_path}: can't be read: Permission denied"


def test_a_file_that_is_not_text_or_no_file_is_told(tmp_path):
    path = tmp_path / "logstore.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidSetting, match="not TOML"):
        logstore.open(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(Failed, match=re.escape(str(path))):
        logstore.open(tmp_path)


def test_the_file_is_utf_8_whatever_the_locale_is(tmp_path, monkeypatch):
    monkeypatch.setattr("locale.getencoding", lambda: "ascii", raising=False)
    with open_with(tmp_path, monkeypatch, file="# größer\nnum.partitions = 2\n") as store:
        assert len(store.create_topic("t").partitions) == 2


def test_a_config_that_is_passed_replaces_file_and_environment(tmp_path, monkeypatch):
    config = Config({"num.partitions": ("5", "test")})
    environment = {"LOGSTORE_NUM_PARTITIONS": "7"}
    with open_with(
        tmp_path, monkeypatch, file=FILE, environment=environment, config=config
    ) as store:
        assert len(store.create_topic("t").partitions) == 5


def test_settings_given_as_numbers_flags_and_tuples_are_kept_as_their_text(tmp_path):
    settings = {"segment.bytes": 2000, "preallocate": True, "cleanup.policy": ("compact", "delete")}
    with logstore.open(tmp_path / "data") as store:
        store.create_topic("t", settings=settings)
        with pytest.raises(InvalidSetting, match=r"segment\.bytes=None"):
            store.alter_topic("t", {"segment.bytes": None})
    with logstore.open(tmp_path / "data") as store:
        chosen = {it.name: it.value for it in store.describe_topic("t") if it.source == "topic"}
        assert chosen == settings


def test_settings_are_facts():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().store.num_partitions = 2


# Values in files, as LOGSTORE_NAME_FILE says ------------------------------------------------------


def test_a_value_can_be_the_line_of_a_file_that_a_variable_names(tmp_path, monkeypatch):
    for text in ("7", "7\n", "7\r\n", " 7 \n"):
        (tmp_path / "value").write_bytes(text.encode())
        environment = {"LOGSTORE_NUM_PARTITIONS_FILE": str(tmp_path / "value")}
        with open_with(tmp_path, monkeypatch, file=FILE, environment=environment) as store:
            chosen = {it.name: (it.value, it.source) for it in store.config.describe()}
            assert chosen["num.partitions"] == (7, "file of LOGSTORE_NUM_PARTITIONS_FILE")
            assert store.config.is_given("num.partitions")


def test_every_setting_that_is_no_path_takes_its_value_from_a_file(tmp_path, monkeypatch):
    for name, field in SETTINGS.items():
        file = tmp_path / name
        file.write_text(text_of(field.default) + "\n")
        if not field.metadata["path"]:
            monkeypatch.setenv(variable(name) + "_FILE", str(file))
    with logstore.open(tmp_path / "data") as store:
        found = {it.source.split(" ")[0] for it in store.config.describe()}
        paths = [it.name for it in store.config.describe() if it.source == "default"]
    assert found == {"file", "default"}
    assert paths == [name for name, field in SETTINGS.items() if field.metadata["path"]]
    assert "tls.key" in paths


def test_no_setting_is_called_as_the_file_of_another_one():
    names = {variable(name) for name in SETTINGS}
    assert not {f"{it}_FILE" for it in names} & names


@pytest.mark.parametrize(
    ("data", "error", "sentence"),
    [
        (b"1\n2\n", InvalidSetting, "must hold one line"),
        (b"\xff", InvalidSetting, "is not UTF-8"),
        (b"", InvalidSetting, r"num\.partitions=: must be a whole number"),
        (b"1" * 70_000, InvalidSetting, "of at most 65536 bytes"),
        (None, Failed, r"LOGSTORE_NUM_PARTITIONS_FILE=\S+value: can't be read: No such file"),
    ],
)
def test_a_file_with_no_value_is_one_line(tmp_path, monkeypatch, data, error, sentence):
    if data is not None:
        (tmp_path / "value").write_bytes(data)
    environment = {"LOGSTORE_NUM_PARTITIONS_FILE": str(tmp_path / "value")}
    with pytest.raises(error, match=sentence):
        open_with(tmp_path, monkeypatch, environment=environment)


def test_a_variable_and_its_file_exclude_each_other(tmp_path, monkeypatch):
    environment = {"LOGSTORE_NUM_PARTITIONS": "3", "LOGSTORE_NUM_PARTITIONS_FILE": "/value"}
    both = "LOGSTORE_NUM_PARTITIONS and LOGSTORE_NUM_PARTITIONS_FILE are both set"
    with pytest.raises(InvalidSetting, match=both):
        open_with(tmp_path, monkeypatch, environment=environment)


def test_a_setting_that_is_a_path_says_which_variable_takes_it(tmp_path, monkeypatch):
    environment = {"LOGSTORE_TLS_KEY_FILE": "/run/secrets/key"}
    with pytest.raises(InvalidSetting, match=r"is the path of a file itself: set LOGSTORE_TLS_KEY"):
        open_with(tmp_path, monkeypatch, environment=environment)


def test_a_file_of_no_setting_is_warned_of(tmp_path, monkeypatch, warnings):
    environment = {"LOGSTORE_NO_SUCH_FILE": "/x", "LOGSTORE_FILE": "/y"}
    open_with(tmp_path, monkeypatch, environment=environment).close()
    assert "LOGSTORE_NO_SUCH_FILE" in warnings()[0]
    assert "LOGSTORE_FILE" in warnings()[0]
