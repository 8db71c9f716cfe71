"""Settings of topics, groups and the node with default and source; the node's are read-only."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol

from logstore.access.audit import SETTINGS, of_group, of_topic
from logstore.access.resources import ALTER_CONFIGS, CLUSTER, CLUSTER_NAME, DESCRIBE_CONFIGS
from logstore.access.resources import GROUP as GROUPS
from logstore.access.resources import TOPIC as TOPICS
from logstore.broker.topics import Topics
from logstore.config import Chosen, check_topic_settings, text_of, topic_setting
from logstore.errors import InvalidSetting, LogstoreError, Refused, UnknownTopic
from logstore.kafka.messages import (
    alter_configs as alter_messages,
)
from logstore.kafka.messages import (
    describe_configs as describe_messages,
)
from logstore.kafka.messages import (
    incremental_alter_configs as incremental_messages,
)
from logstore.protocols.kafka import errors, loggers
from logstore.protocols.kafka.asks import CODES, TEXTS
from logstore.protocols.kafka.broker_settings import (
    STRING,
    SYNONYMS,
    BrokerSetting,
    described,
    kind_of,
)
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.door import NODE_ID, KafkaDoor
from logstore.protocols.kafka.errors import code_of
from logstore.protocols.kafka.handler import handler
from logstore.settings import GROUP_PREFIX

TOPIC, NODE, LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32  # kinds of resources
# Kinds of objects in rules: kinds that are not listed belong to the cluster.
_RULED: Final = {TOPIC: TOPICS, GROUP: GROUPS}
OF_TOPIC, OF_NODE, BY_DEFAULT, OF_LOGGER, OF_GROUP = 1, 4, 5, 6, 8  # sources
_SOURCES: Final = {"topic": OF_TOPIC, "group": OF_GROUP, "default": BY_DEFAULT}
OF_GROUPS: Final = "group.consumer."
SET, DELETE, APPEND, SUBTRACT = range(4)  # KIP-339


def _not_allowed(client: KafkaClient, operation: str, kind: int, name: str) -> int:
    """The error code of the right that the client lacks for this resource; NONE if it lacks
    none.
    """
    ruled = _RULED.get(kind, CLUSTER)
    if ruled == TOPICS:
        allowed = client.may_topic(operation, name)
    else:
        allowed = client.may(operation, ruled, name if ruled == GROUPS else CLUSTER_NAME)
    return errors.NONE if allowed else CODES[ruled]


def source_of(chosen: Chosen) -> int:
    """Kafka's number for the source of a value."""
    return _SOURCES.get(chosen.source, OF_NODE)


# Describing


def describe(
    client: KafkaClient, version: int, request: describe_messages.Request
) -> describe_messages.Response:
    """Key 32."""
    return describe_messages.Response(
        results=[_described(client, it, request) for it in request.resources]
    )


def _described(
    client: KafkaClient, asked: describe_messages.Resource, request: describe_messages.Request
) -> describe_messages.Result:
    result = describe_messages.Result(
        resource_type=asked.resource_type, resource_name=asked.resource_name
    )
    code = _not_allowed(client, DESCRIBE_CONFIGS, asked.resource_type, asked.resource_name)
    if code:
        result.error_code, result.error_message = code, TEXTS[code]
        return result
    try:
        every = _DESCRIBED[asked.resource_type](client, asked.resource_name)
    except KeyError:
        result.error_code = errors.INVALID_REQUEST
        result.error_message = f"there are no resources of type {asked.resource_type}"
        return result
    except LogstoreError as error:
        result.error_code, result.error_message = code_of(error), str(error)
        return result
    keys = asked.configuration_keys
    chosen = [it for it in every if keys is None or it.name in keys]
    for it in chosen:
        if not request.include_synonyms:
            it.synonyms = ()
        if not request.include_documentation:
            it.documentation = None
    result.configs = chosen
    return result


Shown = describe_messages.ResourceResult


def _topic(client: KafkaClient, name: str) -> list[Shown]:
    return [_shown(it, SYNONYMS.get(it.name, it.name)) for it in client.door.topics.describe(name)]


def _shown(it: Chosen, node_name: str) -> Shown:
    """A setting that can be changed. ``node_name``: the name of the setting with its default."""
    return Shown(
        it.name,
        text_of(it.value),
        config_source=source_of(it),
        synonyms=_synonyms(it, node_name),
        config_type=kind_of(it),
        documentation=it.reason,
    )


def _synonyms(chosen: Chosen, node_name: str) -> list[describe_messages.Synonym]:
    """The value in effect, and the default that it overrides."""
    source = source_of(chosen)
    name = chosen.name if source in (OF_TOPIC, OF_GROUP) else node_name
    found = [describe_messages.Synonym(name, text_of(chosen.value), source)]
    if source != BY_DEFAULT:
        found.append(describe_messages.Synonym(node_name, text_of(chosen.default), BY_DEFAULT))
    return found


def _node(client: KafkaClient, name: str) -> list[Shown]:
    """All settings of the node; without a name: the settings changed for all nodes, which
    are none.
    """
    if name == "":
        return []
    _check_node(name)
    return [_of_node(it) for it in described(client, client.door.topics.describe_store())]


def _check_node(name: str) -> None:
    if name != str(NODE_ID):
        raise Refused(f"there is no node {name!r}: the only one is {NODE_ID}")


def _of_node(it: BrokerSetting) -> Shown:
    source = BY_DEFAULT if it.source == "default" else OF_NODE
    synonyms = [describe_messages.Synonym(it.name, it.value, source)]
    if source == OF_NODE and it.default is not None:
        synonyms.append(describe_messages.Synonym(it.name, it.default, BY_DEFAULT))
    return Shown(
        it.name,
        it.value,
        read_only=True,
        config_source=source,
        is_sensitive=it.sensitive,
        synonyms=synonyms,
        config_type=it.kind,
        documentation=it.reason,
    )


def _loggers(client: KafkaClient, name: str) -> list[Shown]:
    """The levels of the loggers (KIP-412)."""
    _check_node(name)
    return [
        Shown(
            part,
            level,
            config_source=OF_LOGGER,
            synonyms=[describe_messages.Synonym(part, level, OF_LOGGER)],
            config_type=STRING,
        )
        for part, level in loggers.levels().items()
    ]


def _group(client: KafkaClient, name: str) -> list[Shown]:
    """The group's own settings, and those of KIP-848 members, which are equal for all
    (KIP-1142).
    """
    if not name:
        raise Refused("a group must have a name")
    of_consumers = [
        Shown(
            f"consumer.{it.name.removeprefix(OF_GROUPS)}",
            text_of(it.value),
            read_only=True,
            config_source=source_of(it),
            synonyms=[describe_messages.Synonym(it.name, text_of(it.value), source_of(it))],
            config_type=kind_of(it),
            documentation=it.reason,
        )
        for it in client.door.topics.describe_store()
        if it.name.startswith(OF_GROUPS) and it.name.endswith(".ms")
    ]
    own = client.door.coordinator.group_settings.describe(name)
    return of_consumers + [_shown(it, GROUP_PREFIX + it.name) for it in own]


def _client_metrics(client: KafkaClient, name: str) -> list[Shown]:
    """An empty list: no one subscribes to clients' metrics (KIP-714)."""
    if not name:
        raise Refused("a subscription to metrics must have a name")
    return []


_DESCRIBED: Final[Mapping[int, Callable[[KafkaClient, str], list[Shown]]]] = {
    TOPIC: _topic,
    NODE: _node,
    LOGGER: _loggers,
    CLIENT_METRICS: _client_metrics,
    GROUP: _group,
}


# Changing


class Given(Protocol):
    """A setting in a request."""

    name: str
    value: str | None


def given_settings(asked: Sequence[Given]) -> dict[str, str]:
    """The settings to set. Raises Refused for one without a value, which must not be ignored."""
    _check_once([it.name for it in asked])
    for it in asked:
        if it.value is None:
            raise Refused(f"{it.name}: has no value: leave it out to have its default")
    return {it.name: it.value for it in asked if it.value is not None}


def _check_once(names: Sequence[str]) -> None:
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise Refused(f"{twice[0]}: is in the request twice")


def _attempt(
    client: KafkaClient,
    kind: int,
    name: str,
    work: Callable[[], None],
    kinds: Collection[int] = (TOPIC, GROUP),
) -> tuple[int, str | None]:
    code = _not_allowed(client, ALTER_CONFIGS, kind, name)
    if code:
        return code, TEXTS[code]
    try:
        if kind not in kinds:
            raise Refused("the node's settings are in logstore.toml and the environment")
        work()
    except LogstoreError as error:
        return code_of(error), str(error)
    return errors.NONE, None


class Changeable(NamedTuple):
    """The kind of object whose settings are changed, topics or groups, each by name."""

    given: Callable[[str], Mapping[str, str]]  # those of its own
    describe: Callable[[str], list[Chosen]]
    check: Callable[[str, Mapping[str, str], Sequence[str]], None]  # set, and reset
    alter: Callable[[str, Mapping[str, str], Sequence[str]], object]
    said: Callable[[str, Mapping[str, str], Sequence[str]], str]  # to the audit log


def _changeable(door: KafkaDoor, kind: int) -> Changeable:
    if kind == GROUP:
        groups = door.coordinator.group_settings
        return Changeable(groups.given, groups.describe, groups.check, groups.alter, of_group)
    topics = door.topics
    check = partial(_check_topic, topics)
    return Changeable(topics.given, topics.describe, check, topics.alter, of_topic)


def _check_topic(
    topics: Topics, name: str, settings: Mapping[str, str], reset: Sequence[str]
) -> None:
    """Check new and reset settings of a topic. Raises UnknownTopic, UnknownSetting,
    InvalidSetting.
    """
    if topics.get(name) is None:
        raise UnknownTopic(f"no topic {name!r}")
    check_topic_settings(settings)
    for setting in reset:
        topic_setting(setting)


def _change(
    client: KafkaClient,
    it: Changeable,
    name: str,
    settings: Mapping[str, str],
    reset: Sequence[str],
    validate_only: bool,
) -> None:
    it.check(name, settings, reset)
    if not validate_only:
        it.alter(name, settings, reset)
        client.did(SETTINGS, it.said(name, settings, reset))


def alter(
    client: KafkaClient, version: int, request: alter_messages.Request
) -> alter_messages.Response:
    """Key 33: settings that are not named return to their defaults."""

    def replace(it: alter_messages.Resource) -> None:
        settings, of = given_settings(it.configs), _changeable(client.door, it.resource_type)
        reset = [one for one in of.given(it.resource_name) if one not in settings]
        _change(client, of, it.resource_name, settings, reset, request.validate_only)

    return alter_messages.Response(
        responses=[
            alter_messages.ResourceResponse(
                *_attempt(client, it.resource_type, it.resource_name, partial(replace, it)),
                it.resource_type,
                it.resource_name,
            )
            for it in request.resources
        ]
    )


def alter_incrementally(
    client: KafkaClient, version: int, request: incremental_messages.Request
) -> incremental_messages.Response:
    """Key 44: changes only the named settings."""

    def change(it: incremental_messages.AlterConfigsResource) -> None:
        if it.resource_type == LOGGER:
            _change_levels(client, it, validate_only=request.validate_only)
            return
        of = _changeable(client.door, it.resource_type)
        settings, reset = _incremental(of, it.resource_name, it.configs)
        _change(client, of, it.resource_name, settings, reset, request.validate_only)

    return incremental_messages.Response(
        responses=[
            incremental_messages.AlterConfigsResourceResponse(
                *_attempt(
                    client,
                    it.resource_type,
                    it.resource_name,
                    partial(change, it),
                    (TOPIC, GROUP, LOGGER),
                ),
                it.resource_type,
                it.resource_name,
            )
            for it in request.resources
        ]
    )


def _change_levels(
    client: KafkaClient, it: incremental_messages.AlterConfigsResource, *, validate_only: bool
) -> None:
    """Change levels of loggers. Raises Refused, InvalidSetting."""
    _check_node(it.resource_name)
    _check_once([one.name for one in it.configs])
    for one in it.configs:
        if one.config_operation not in (SET, DELETE):
            raise Refused(f"{one.name}: a level of the log is set or deleted")
    settings = {one.name: one.value or "" for one in it.configs if one.config_operation == SET}
    reset = [one.name for one in it.configs if one.config_operation == DELETE]
    loggers.change(settings, reset, validate_only=validate_only)
    if not validate_only:
        said = [*(f"{name}={level}" for name, level in settings.items()), *reset]
        client.did(SETTINGS, f"levels of the log: {', '.join(said)}")


def _incremental(
    of: Changeable, name: str, asked: Sequence[incremental_messages.AlterableConfig]
) -> tuple[dict[str, str], list[str]]:
    """The settings to set, and the names of those that return to their defaults."""
    _check_once([it.name for it in asked])
    now = {it.name: it.value for it in of.describe(name)}
    settings: dict[str, str] = {}
    reset: list[str] = []
    for it in asked:
        if it.config_operation == DELETE:
            reset.append(it.name)
        elif it.config_operation == SET:
            settings[it.name] = it.value or ""
        elif it.config_operation in (APPEND, SUBTRACT):
            words = now.get(it.name)
            if not isinstance(words, tuple):
                raise InvalidSetting(f"{it.name} is not a list: it can only be set or deleted")
            given = [word.strip() for word in (it.value or "").split(",")]
            kept = [word for word in words if word not in given]
            settings[it.name] = ",".join(kept + (given if it.config_operation == APPEND else []))
        else:
            raise Refused(f"{it.name}: there is no operation {it.config_operation}")
    return settings, reset


HANDLERS: Final = {
    32: handler(describe_messages.Request, describe_messages.Response, describe),
    33: handler(alter_messages.Request, alter_messages.Response, alter),
    44: handler(incremental_messages.Request, incremental_messages.Response, alter_incrementally),
}
