"""Settings of topics and of the node: shown with default and source, topics' also changed."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

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
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.client import Client
from logstore.protocols.kafka.door import NODE_ID, Door
from logstore.protocols.kafka.errors import code_of
from logstore.protocols.kafka.handler import handler
from logstore.settings import FILE_SETTINGS, INT32_MAX, TOPIC_SETTINGS

TOPIC, NODE, LOGGER, CLIENT_METRICS, GROUP = 2, 4, 8, 16, 32  # kinds of resources
OF_TOPIC, OF_NODE, BY_DEFAULT = 1, 4, 5  # sources
SET, DELETE, APPEND, SUBTRACT = range(4)  # KIP-339

_BOOLEAN, _STRING, _INT, _LONG, _DOUBLE, _LIST = 1, 2, 3, 5, 6, 7
_TYPES: Final[tuple[tuple[type, int], ...]] = (
    (bool, _BOOLEAN),  # before int, which it is too
    (str, _STRING),
    (float, _DOUBLE),
    (tuple, _LIST),
)


def source_of(chosen: Chosen) -> int:
    """Kafka's number for where a value comes from."""
    if chosen.source == "topic":
        return OF_TOPIC
    return BY_DEFAULT if chosen.source == "default" else OF_NODE


def _type_of(chosen: Chosen) -> int:
    for kind, number in _TYPES:
        if isinstance(chosen.default, kind):
            return number
    field = FILE_SETTINGS.get(chosen.name) or TOPIC_SETTINGS[chosen.name]
    return _INT if field.metadata["high"] <= INT32_MAX else _LONG


# Describing


def describe(
    client: Client, version: int, request: describe_messages.Request
) -> describe_messages.Response:
    """Key 32."""
    return describe_messages.Response(
        results=[_described(client.door, it, request) for it in request.resources]
    )


def _described(
    door: Door, asked: describe_messages.Resource, request: describe_messages.Request
) -> describe_messages.Result:
    result = describe_messages.Result(
        resource_type=asked.resource_type, resource_name=asked.resource_name
    )
    try:
        every = _settings(door, asked.resource_type, asked.resource_name)
    except LogstoreError as error:
        result.error_code, result.error_message = code_of(error), str(error)
        return result
    keys = asked.configuration_keys
    result.configs = [
        describe_messages.ResourceResult(
            it.name,
            text_of(it.value),
            read_only=asked.resource_type == NODE,
            config_source=source_of(it),
            synonyms=_synonyms(it) if request.include_synonyms else (),
            config_type=_type_of(it),
            documentation=it.reason if request.include_documentation else None,
        )
        for it in every
        if keys is None or it.name in keys
    ]
    return result


def _settings(door: Door, kind: int, name: str) -> list[Chosen]:
    if kind == TOPIC:
        return door.topics.describe(name)
    if kind == NODE and name in ("", str(NODE_ID)):
        return door.topics.describe_store()
    raise Refused(f"there are no settings of a resource of type {kind} named {name!r}")


def _synonyms(chosen: Chosen) -> list[describe_messages.Synonym]:
    """The value that counts, and the default that it stands before."""
    found = [describe_messages.Synonym(chosen.name, text_of(chosen.value), source_of(chosen))]
    if chosen.source != "default":
        found.append(describe_messages.Synonym(chosen.name, text_of(chosen.default), BY_DEFAULT))
    return found


# Changing


class Given(Protocol):
    """A setting in a request."""

    name: str
    value: str | None


def given_settings(asked: Sequence[Given]) -> dict[str, str]:
    """What is to be set. Raises Refused: a setting must not be left out silently."""
    _check_once([it.name for it in asked])
    for it in asked:
        if it.value is None:
            raise Refused(f"{it.name}: has no value: leave it out to have its default")
    return {it.name: it.value for it in asked if it.value is not None}


def _check_once(names: Sequence[str]) -> None:
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise Refused(f"{twice[0]}: is in the request twice")


def _attempt(kind: int, work: Callable[[], None]) -> tuple[int, str | None]:
    try:
        if kind != TOPIC:
            raise Refused("the node's settings are in logstore.toml and the environment")
        work()
    except LogstoreError as error:
        return code_of(error), str(error)
    return errors.NONE, None


def _change(
    door: Door, name: str, settings: Mapping[str, str], reset: Sequence[str], validate_only: bool
) -> None:
    if door.topics.get(name) is None:
        raise UnknownTopic(f"no topic {name!r}")
    check_topic_settings(settings)
    for setting in reset:
        topic_setting(setting)
    if not validate_only:
        door.topics.alter(name, settings, reset)


def alter(client: Client, version: int, request: alter_messages.Request) -> alter_messages.Response:
    """Key 33: what is not named goes back to its default."""

    def replace(it: alter_messages.Resource) -> None:
        settings = given_settings(it.configs)
        reset = [one for one in client.door.topics.given(it.resource_name) if one not in settings]
        _change(client.door, it.resource_name, settings, reset, request.validate_only)

    return alter_messages.Response(
        responses=[
            alter_messages.ResourceResponse(
                *_attempt(it.resource_type, lambda it=it: replace(it)),  # type: ignore[misc]
                it.resource_type,
                it.resource_name,
            )
            for it in request.resources
        ]
    )


def alter_incrementally(
    client: Client, version: int, request: incremental_messages.Request
) -> incremental_messages.Response:
    """Key 44: only what is named changes."""

    def change(it: incremental_messages.AlterConfigsResource) -> None:
        settings, reset = _incremental(client.door, it.resource_name, it.configs)
        _change(client.door, it.resource_name, settings, reset, request.validate_only)

    return incremental_messages.Response(
        responses=[
            incremental_messages.AlterConfigsResourceResponse(
                *_attempt(it.resource_type, lambda it=it: change(it)),  # type: ignore[misc]
                it.resource_type,
                it.resource_name,
            )
            for it in request.resources
        ]
    )


def _incremental(
    door: Door, name: str, asked: Sequence[incremental_messages.AlterableConfig]
) -> tuple[dict[str, str], list[str]]:
    """What is set, and what goes back to its default."""
    _check_once([it.name for it in asked])
    now = {it.name: it.value for it in door.topics.describe(name)}
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
                raise InvalidSetting(f"{it.name} is no list: it can only be set or deleted")
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
