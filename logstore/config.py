"""The sources of settings and the check of their values; ``settings.py`` declares the settings.

Sources, strongest first: the topic or group itself, the environment
(``LOGSTORE_TOPIC_SEGMENT_BYTES``, or a file with the value, named by
``LOGSTORE_TOPIC_SEGMENT_BYTES_FILE``), the configuration file (``<data>/logstore.toml``), the
default. An unknown name or an invalid value raises and names the nearest valid one: no mistake in
the configuration is silent. An unknown environment variable causes only a warning, because other
programs set variables, too.
"""

import dataclasses
import difflib
import errno
import logging
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeGuard

from logstore import variables
from logstore.amounts import amount, examples, has_amounts
from logstore.errors import Failed, InvalidSetting, UnknownSetting
from logstore.settings import (
    ELSEWHERE,
    FILE_SETTINGS,
    FOREVER,
    GROUP_PREFIX,
    GROUP_SETTINGS,
    KEYS_SYNC,
    STORE_SETTINGS,
    TOPIC_PREFIX,
    TOPIC_SETTINGS,
    ChannelRule,
    GroupSettings,
    KeysRule,
    MqttRule,
    StoreSettings,
    TopicSettings,
)

CHANNEL_TABLE = "channel"
KEYS_TABLE = "keys"
MQTT_TABLE = "mqtt"
MQTT_TOPICS = "topics"  # its list, where the file has other settings of MQTT
_LISTS = (CHANNEL_TABLE, KEYS_TABLE, MQTT_TABLE)  # of tables
_SHOWN = 60  # characters of a bad value in one of them
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
VALUE_BYTES_MAX = 65_536  # of a file with the value of a setting; a list of names may be long

_log = logging.getLogger("logstore.config")
# A process loads its configuration more than once; it is warned about a variable once.
_warned: set[str] = set()


def parse(name: str, field: "dataclasses.Field[Any]", text: str) -> Any:  # noqa: ANN401
    """The value that ``text`` stands for. Raises InvalidSetting, which says what is taken."""
    facts, text = field.metadata, text.strip()
    default = field.default
    try:
        if isinstance(default, bool):
            if text.lower() not in (facts["words"] or ("true", "false")):
                raise ValueError
            return text.lower() == "true"
        if isinstance(default, tuple):
            words = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
            if not text and (facts["names"] or facts["empty"]):
                return ()
            if facts["names"]:
                known = all(re.fullmatch(facts["pattern"], word) for word in words)
            else:
                known = set(words) <= set(facts["words"])
            if not known:
                raise ValueError
            return words
        if isinstance(default, str):
            if text not in facts["words"] if facts["words"] else not _fits(text, field):
                raise ValueError
            return text
        value = float(text) if isinstance(default, float) else int(text)
        # The order of the comparison also refuses NaN.
        if not facts["low"] <= value <= facts["high"] or value in facts["besides"]:
            raise ValueError
        return value
    except (ValueError, KeyError):
        raise InvalidSetting(f"{name}={text}: must be {takes(field)} ({facts['reason']})") from None


def plain(name: str, field: "dataclasses.Field[Any]", text: str) -> str:
    """The text as protocols have it, of what a person wrote: ``7d`` is 604800000 in ms.

    Raises InvalidSetting for what is neither a number nor one with a unit.
    """
    unit, text = field.metadata["unit"], text.strip()
    if not has_amounts(unit) or re.fullmatch(r"[+-]?[\d_]+", text, re.ASCII):
        return text
    number = amount(text, unit)
    if number is None:
        raise InvalidSetting(
            f"{name}={text}: must be {takes(field)}, or a number with a unit, such as"
            f" {examples(unit)} ({field.metadata['reason']})"
        )
    return str(number)


def plain_topic_settings(settings: Mapping[str, str]) -> dict[str, str]:
    """The same of settings of a topic. Raises InvalidSetting.

    One that is not known here is another cluster's: its name tells what it counts.
    """
    found = {}
    for name, text in settings.items():
        field, unit = TOPIC_SETTINGS.get(name), name.rpartition(".")[2]
        if field is not None:
            found[name] = plain(name, field, text)
        else:
            number = amount(text, unit) if has_amounts(unit) else None
            found[name] = text if number is None else str(number)
    return found


def _fits(text: str, field: "dataclasses.Field[Any]") -> bool:
    return text == field.default or re.fullmatch(field.metadata["pattern"], text) is not None


def takes(field: "dataclasses.Field[Any]") -> str:
    """The values a setting takes, in words."""
    facts, default = field.metadata, field.default
    if isinstance(default, bool):
        return " or ".join(facts["words"] or ("true", "false"))
    if facts["names"]:
        return f"a comma-separated list of {facts['shape']}"
    if isinstance(default, tuple):
        return "a comma-separated list of " + ", ".join(facts["words"])
    if isinstance(default, str) and not facts["words"]:
        return "a text"
    if isinstance(default, str):
        return "one of " + ", ".join(facts["words"])
    unit = f" {facts['unit']}" if facts["unit"] else ""
    number = "a number" if isinstance(default, float) else "a whole number"
    besides = "".join(f", not {it}" for it in facts["besides"])
    return f"{number} from {facts['low']} to {facts['high']}{unit}{besides}"


def text_of(value: Any) -> str:  # noqa: ANN401
    """The text that ``parse`` reads back as this value."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)


NEAR_CHARACTERS_MAX: Final = 300  # to compare longer ones takes long, and they are nobody's


def nearest(name: str, names: Iterable[str]) -> str:
    """`` (did you mean X?)``, or nothing where no name is near."""
    if len(name) > NEAR_CHARACTERS_MAX:
        return ""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""


def _nearest_setting(name: str) -> str:
    """The same of a setting in the file, which may be one of another server."""
    known = ELSEWHERE.get(name)
    if known is None:
        of_topics = TOPIC_PREFIX + name.removeprefix("log.")  # Kafka's default of all topics
        known = of_topics if of_topics in FILE_SETTINGS else None
    return nearest(name, FILE_SETTINGS) if known is None else f" (did you mean {known}?)"


def check_topic_settings(settings: Mapping[str, str]) -> dict[str, str]:
    """The same settings, each known and well-formed. Raises UnknownSetting, InvalidSetting.

    What is no text becomes the text that stands for it: a number, a flag, a tuple of words.
    """
    return _checked(settings, topic_setting)


def check_group_settings(settings: Mapping[str, str]) -> dict[str, str]:
    """The same of a group's."""
    return _checked(settings, group_setting)


def _checked(
    settings: Mapping[str, str], declaration: "Callable[[str], dataclasses.Field[Any]]"
) -> dict[str, str]:
    texts = {name: text_of(value) for name, value in settings.items()}
    for name, text in texts.items():
        parse(name, declaration(name), text)
    return texts


def topic_setting(name: str) -> "dataclasses.Field[Any]":
    """The declaration of a topic setting. Raises UnknownSetting, which names the nearest."""
    return _declaration("topic", name, TOPIC_SETTINGS)


def group_setting(name: str) -> "dataclasses.Field[Any]":
    """The declaration of a group's setting. Raises UnknownSetting, which names the nearest."""
    return _declaration("group", name, GROUP_SETTINGS)


def _declaration(
    kind: str, name: str, settings: "Mapping[str, dataclasses.Field[Any]]"
) -> "dataclasses.Field[Any]":
    field = settings.get(name)
    if field is None:
        raise UnknownSetting(f"no {kind} setting {name!r}{nearest(name, settings)}")
    return field


@dataclass(frozen=True, slots=True)
class Chosen:
    """One setting's value and where it came from."""

    name: str
    value: Any
    source: str  # "default", "file PATH", "environment NAME", "file of NAME", "topic", "group"
    default: Any
    reason: str


class Config:
    """What the file and the environment say, checked; the defaults where they say nothing."""

    def __init__(
        self,
        given: Mapping[str, tuple[str, str]] | None = None,
        channels: tuple[ChannelRule, ...] = (),
        keys: tuple[KeysRule, ...] = (),
        mqtt: tuple[MqttRule, ...] = (),
        file: Path | None = None,
    ) -> None:
        """``given``: name -> (text, source); topic defaults under ``topic.<name>``.

        ``file``: where it is from, whether that is there or not.
        """
        self.file = file
        self.channels = channels
        self.keys = keys
        self.mqtt = mqtt
        self._given: dict[str, tuple[Any, str]] = {}
        for name, (text, source) in (given or {}).items():
            field = FILE_SETTINGS.get(name)
            if field is None:
                raise UnknownSetting(f"{source}: no setting {name!r}{_nearest_setting(name)}")
            self._given[name] = parse(name, field, plain(name, field, text)), source
        self.store = StoreSettings(**self._fields(STORE_SETTINGS, ""))

    def is_given(self, name: str) -> bool:
        """Whether somebody has chosen this setting: in the file, the environment, an option."""
        return name in self._given and self._given[name][1] != "default"

    def chosen(self, name: str) -> Chosen:
        """A setting of the store, with its source."""
        return self._chosen(name, name, STORE_SETTINGS[name])

    def unless_given(self, name: str, text: str) -> "Config":
        """The same, with another default for a setting of the store."""
        return self if name in self._given else self._with(name, text, "default")

    def by_option(self, name: str, text: str, option: str) -> "Config":
        """The same, with what an option of the command line says of a setting of the store."""
        return self._with(name, text, f"option {option}")

    def _with(self, name: str, text: str, source: str) -> "Config":
        config = Config(channels=self.channels, keys=self.keys, mqtt=self.mqtt, file=self.file)
        field = STORE_SETTINGS[name]
        config._given = self._given | {name: (parse(name, field, plain(name, field, text)), source)}
        config.store = StoreSettings(**config._fields(STORE_SETTINGS, ""))
        return config

    @classmethod
    def load(cls, file: Path | None, environment: Mapping[str, str]) -> "Config":
        """From a TOML file (None or absent: no file) and the environment, which wins."""
        given: dict[str, tuple[str, str]] = {}
        channels: tuple[ChannelRule, ...] = ()
        keys: tuple[KeysRule, ...] = ()
        mqtt: tuple[MqttRule, ...] = ()
        if file is not None and _exists(file):
            try:
                tables = tomllib.loads(file.read_text("utf-8"))
            except OSError as error:
                raise Failed(f"{file}: can't be read: {error.strerror}") from None
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise InvalidSetting(f"{file}: not TOML: {error}") from None
            channels = _channel_rules(file, tables.pop(CHANNEL_TABLE, []))
            keys = _keys_rules(file, tables.pop(KEYS_TABLE, []))
            mqtt = _mqtt_rules(file, tables)
            _check_no_other(file, tables)
            given |= {name: (text, f"file {file}") for name, text in flatten(tables)}
        found = variables.find(environment, FILE_SETTINGS)
        for name, variable in found.settings.items():
            given[name] = environment[variable], f"environment {variable}"
        for name, variable in found.files.items():
            if name in found.settings:
                raise InvalidSetting(
                    f"{found.settings[name]} and {variable} are both set: leave one of them out"
                )
            given[name] = _of_file(name, variable, environment[variable]), f"file of {variable}"
        _warn(found.unknown)
        return cls(given, channels, keys, mqtt, file)

    def topic(self, overrides: Mapping[str, str]) -> TopicSettings:
        """A topic's settings: its own, else what file or environment say, else the defaults."""
        return TopicSettings(**self._overridden(TOPIC_SETTINGS, TOPIC_PREFIX, overrides))

    def group(self, overrides: Mapping[str, str]) -> GroupSettings:
        """The same of a group."""
        return GroupSettings(**self._overridden(GROUP_SETTINGS, GROUP_PREFIX, overrides))

    def _overridden(
        self,
        settings: Mapping[str, "dataclasses.Field[Any]"],
        prefix: str,
        overrides: Mapping[str, str],
    ) -> dict[str, Any]:
        fields = self._fields(settings, prefix)
        for name, text in overrides.items():
            fields[settings[name].name] = parse(name, settings[name], text)
        return fields

    def describe(self) -> list[Chosen]:
        """Every store setting and the defaults of topics and groups, with their sources."""
        return [self._chosen(name, name, field) for name, field in FILE_SETTINGS.items()]

    def describe_topic(self, overrides: Mapping[str, str]) -> list[Chosen]:
        """Every setting of a topic, with its source."""
        return self._described("topic", TOPIC_SETTINGS, TOPIC_PREFIX, overrides)

    def describe_group(self, overrides: Mapping[str, str]) -> list[Chosen]:
        """Every setting of a group, with its source."""
        return self._described("group", GROUP_SETTINGS, GROUP_PREFIX, overrides)

    def _described(
        self,
        kind: str,
        settings: Mapping[str, "dataclasses.Field[Any]"],
        prefix: str,
        overrides: Mapping[str, str],
    ) -> list[Chosen]:
        return [
            _own(name, field, kind, overrides[name])
            if name in overrides
            else self._chosen(name, prefix + name, field)
            for name, field in settings.items()
        ]

    def _chosen(self, name: str, given_as: str, field: "dataclasses.Field[Any]") -> Chosen:
        value, source = self._given.get(given_as, (field.default, "default"))
        return Chosen(name, value, source, field.default, field.metadata["reason"])

    def _fields(
        self, settings: Mapping[str, "dataclasses.Field[Any]"], prefix: str
    ) -> dict[str, Any]:
        return {
            field.name: self._given[prefix + name][0]
            for name, field in settings.items()
            if prefix + name in self._given
        }


def _own(name: str, field: "dataclasses.Field[Any]", kind: str, text: str) -> Chosen:
    value, reason = parse(name, field, text), field.metadata["reason"]
    return Chosen(name, value, kind, field.default, reason)


def _exists(file: Path) -> bool:
    try:
        file.stat()  # Path.exists says no to all errors, from Python 3.14 on
    except ValueError:  # NUL
        return False
    except OSError as error:
        if error.errno in _NOT_THERE:
            return False
        # It is its directory that can't be looked into.
        raise Failed(f"{file.parent}: can't be read: {error.strerror}") from None
    return True


def _of_file(name: str, variable: str, path: str) -> str:
    """The value that a file holds. Raises InvalidSetting, Failed."""
    if FILE_SETTINGS[name].metadata["path"]:
        raise InvalidSetting(
            f"{variable}: {name} is the path of a file itself: set {variables.variable(name)}"
        )
    try:
        with open(path, "rb") as file:
            data = file.read(VALUE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise Failed(f"{variable}={path}: can't be read: {reason}") from None
    try:
        text = data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise InvalidSetting(f"{variable}={path}: is not UTF-8") from None
    if len(data) > VALUE_BYTES_MAX or "\n" in text:
        raise InvalidSetting(
            f"{variable}={path}: must hold one line, of at most {VALUE_BYTES_MAX} bytes"
        )
    return text


def _warn(unknown: list[str]) -> None:
    told = [name for name in unknown if name not in _warned]
    if told:
        _warned.update(told)
        names = [*map(variables.variable, FILE_SETTINGS), *variables.RESERVED]
        shown = ", ".join(name + nearest(name, names) for name in told)
        _log.warning(
            "the environment has variables that are not settings; they are ignored: %s", shown
        )


def _tables(
    file: Path,
    kind: str,
    tables: Any,  # noqa: ANN401  TOML
    names: tuple[str, ...],
) -> list[dict[str, Any]]:
    """Tables of this kind, which know no other names. Raises InvalidSetting, UnknownSetting."""
    if not isinstance(tables, list) or not all(isinstance(it, dict) for it in tables):
        raise InvalidSetting(f"file {file}: {kind}: is a list of tables: [[{kind}]]")
    for name in (name for table in tables for name in table):
        if name not in names:
            raise UnknownSetting(
                f"file {file}: [[{kind}]]: no setting {name!r}{nearest(name, names)}; there are"
                f" {', '.join(names)}"
            )
    return tables


def _check_no_other(file: Path, tables: Mapping[str, Any]) -> None:
    """Raises UnknownSetting where a list of tables is left, whose name is none of ours."""
    for name, found in tables.items():
        if isinstance(found, list) and any(isinstance(it, dict) for it in found):
            close = difflib.get_close_matches(name[:NEAR_CHARACTERS_MAX], _LISTS, n=1)
            hint = f" (did you mean [[{close[0]}]]?)" if close else ""
            raise UnknownSetting(f"file {file}: no list of tables {name!r}{hint}")


def _keys_rules(file: Path, tables: Any) -> tuple[KeysRule, ...]:  # noqa: ANN401  TOML
    """``pattern = "cache:*"``, ``sync = "everysec"``. Raises InvalidSetting, UnknownSetting."""
    rules = []
    for table in _tables(file, KEYS_TABLE, tables, ("pattern", "sync")):
        pattern, sync = table.get("pattern"), table.get("sync")
        if not _is_pattern(pattern) or sync not in KEYS_SYNC:
            raise InvalidSetting(
                f"file {file}: [[{KEYS_TABLE}]]: needs pattern, a text such as 'cache:*', and"
                f" sync, one of {', '.join(KEYS_SYNC)}"
            )
        rules.append(KeysRule(pattern, sync))
    return tuple(rules)


def _mqtt_rules(file: Path, tables: dict[str, Any]) -> tuple[MqttRule, ...]:
    """``pattern = "sensors/#"``, ``topic = "sensors"``, in tables [[mqtt]].

    Or in [[mqtt.topics]], beside settings of MQTT: in TOML a name is a list or a table.

    Raises InvalidSetting, UnknownSetting.
    """
    found, table = tables.get(MQTT_TABLE, {}), MQTT_TABLE
    if isinstance(found, dict):
        found, table = found.pop(MQTT_TOPICS, []), f"{MQTT_TABLE}.{MQTT_TOPICS}"
    else:
        del tables[MQTT_TABLE]
    rules = []
    for it in _tables(file, table, found, ("pattern", "topic")):
        pattern, topic = it.get("pattern"), it.get("topic")
        # Names that begin with "__" are the server's own, and Kafka's.
        named = isinstance(topic, str) and re.fullmatch(
            r"(?!__|\.\.?$)[\w.-]{1,249}", topic, re.ASCII
        )
        if not _is_pattern(pattern) or not _is_filter(pattern) or not named:
            raise InvalidSetting(
                f"file {file}: [[{table}]]: needs pattern, a topic filter such as 'sensors/#',"
                " and topic, the name of a topic, of letters, digits, '.', '_' and '-'"
            )
        rules.append(MqttRule(pattern, str(topic)))
    return tuple(rules)


def _is_filter(pattern: str) -> bool:
    """As MQTT has it, 4.7; none of topics that begin with $, which clients can't publish to."""
    *before, last = pattern.split("/")
    return (
        "\0" not in pattern
        and not pattern.startswith("$")
        and all(it == "+" or not {"+", "#"} & set(it) for it in before)
        and (last in ("+", "#") or not {"+", "#"} & set(last))
    )


def _is_pattern(text: object) -> TypeGuard[str]:
    return isinstance(text, str) and 1 <= len(text.encode()) <= 4096


def _channel_rules(file: Path, tables: Any) -> tuple[ChannelRule, ...]:  # noqa: ANN401  TOML
    """``pattern = "orders.*"``, ``history = "1h"``. Raises InvalidSetting, UnknownSetting."""
    rules = []
    for table in _tables(file, CHANNEL_TABLE, tables, ("pattern", "history")):
        pattern, history = table.get("pattern"), table.get("history")
        history_ms = amount(str(history), "ms")
        if not _is_pattern(pattern) or history is None:
            raise InvalidSetting(
                f"file {file}: [[{CHANNEL_TABLE}]]: needs pattern, a text such as 'orders.*',"
                " and history, a time such as '30m', '1h' or '7d'"
            )
        if history_ms is None or history_ms > FOREVER:
            raise InvalidSetting(
                f"file {file}: [[{CHANNEL_TABLE}]]: history {str(history)[:_SHOWN]!r}: must be a"
                " time such as '30m', '1h' or '7d'"
            )
        rules.append(ChannelRule(pattern, history_ms))
    return tuple(rules)


def flatten(tables: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Names of settings and their texts, of what TOML says."""
    for key, value in tables.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            yield prefix + key, ",".join(str(item) for item in value)
        else:
            yield prefix + key, text_of(value)
