"""Settings of groups by DescribeConfigs, AlterConfigs and IncrementalAlterConfigs."""

import pytest
from door_kit import Talk
from group_kit import checked

from logstore.kafka.messages import (
    alter_configs,
    describe_configs,
    incremental_alter_configs,
    list_config_resources,
)

GROUP = 32
SET, DELETE, APPEND = range(3)
FROM_NODE, BY_DEFAULT, OF_GROUP = 4, 5, 8
INVALID_REQUEST, INVALID_CONFIG = 42, 40
LOCK, LIMIT = "share.record.lock.duration.ms", "share.delivery.count.limit"


@pytest.fixture
def talk():
    return Talk()


def described(talk, name="g", keys=None, version=4):
    """(value, source, read-only), by the name of the setting; or the error."""
    asked = describe_configs.Resource(GROUP, name, keys)
    request = describe_configs.Request([asked], include_synonyms=True)
    [found] = checked(talk, 32, version, request, describe_configs.Response).results
    if found.error_code:
        return found.error_code
    return {it.name: (it.value, it.config_source, it.read_only) for it in found.configs}


def changed(talk, *changes, name="g", validate_only=False, version=1):
    """The error code and its message; each change: name, operation, value."""
    configs = [incremental_alter_configs.AlterableConfig(*it) for it in changes]
    resource = incremental_alter_configs.AlterConfigsResource(GROUP, name, configs)
    request = incremental_alter_configs.Request([resource], validate_only)
    [told] = checked(talk, 44, version, request, incremental_alter_configs.Response).responses
    return told.error_code, told.error_message


def replaced(talk, settings, validate_only=False):
    configs = [alter_configs.AlterableConfig(*it) for it in settings.items()]
    request = alter_configs.Request([alter_configs.Resource(GROUP, "g", configs)], validate_only)
    [told] = checked(talk, 33, 2, request, alter_configs.Response).responses
    return told.error_code, told.error_message


def test_a_group_that_was_told_nothing_has_the_defaults(talk):
    found = described(talk)
    assert found[LOCK] == ("30000", BY_DEFAULT, False)
    assert found["share.auto.offset.reset"] == ("latest", BY_DEFAULT, False)
    assert found["errors.deadletterqueue.topic.name"] == ("", BY_DEFAULT, False)
    assert found["consumer.session.timeout.ms"] == ("45000", BY_DEFAULT, True)
    assert sum(name.startswith("share.") for name in found) == 8


def test_what_a_group_is_told_counts_and_goes_back(talk):
    assert changed(talk, (LOCK, SET, "15000"), (LIMIT, SET, "3")) == (0, None)
    assert described(talk, keys=[LOCK, LIMIT]) == {
        LOCK: ("15000", OF_GROUP, False), LIMIT: ("3", OF_GROUP, False),
    }  # fmt: skip
    settings = talk.coordinator.settings_of("g")
    assert (settings.share_record_lock_duration_ms, settings.share_delivery_count_limit) == (
        15_000, 3,
    )  # fmt: skip
    assert described(talk, "h", [LOCK]) == {LOCK: ("30000", BY_DEFAULT, False)}
    assert changed(talk, (LOCK, DELETE, None)) == (0, None)
    assert described(talk, keys=[LOCK])[LOCK] == ("30000", BY_DEFAULT, False)
    assert replaced(talk, {LOCK: "16000"}) == (0, None)  # the other goes back
    assert described(talk, keys=[LOCK, LIMIT]) == {
        LOCK: ("16000", OF_GROUP, False), LIMIT: ("5", BY_DEFAULT, False),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ((LOCK, SET, "14999"), INVALID_CONFIG),
        ((LOCK, SET, "x"), INVALID_CONFIG),
        (("share.record.lock.ms", SET, "15000"), INVALID_CONFIG),
        (("consumer.session.timeout.ms", SET, "50000"), INVALID_CONFIG),
        (("retention.ms", DELETE, None), INVALID_CONFIG),
        ((LOCK, APPEND, "15000"), INVALID_CONFIG),
        ((LOCK, 9, "15000"), INVALID_REQUEST),
    ],
)
def test_what_cant_be_is_refused_and_changes_nothing(talk, change, code):
    told, message = changed(talk, (LIMIT, SET, "3"), change)
    assert (told, change[0] in message) == (code, True)
    assert talk.coordinator.group_settings.names() == []


@pytest.mark.parametrize("name", ["", "x" * 256])
def test_a_group_has_a_name_that_can_be(talk, name):
    assert changed(talk, (LOCK, SET, "15000"), name=name)[0] == INVALID_REQUEST
    assert described(talk, name) == INVALID_REQUEST


def test_who_only_tries_changes_nothing(talk):
    assert changed(talk, (LOCK, SET, "15000"), validate_only=True) == (0, None)
    assert replaced(talk, {LOCK: "15000"}, validate_only=True) == (0, None)
    assert changed(talk, (LOCK, SET, "1"), validate_only=True)[0] == INVALID_CONFIG
    assert talk.coordinator.group_settings.names() == []


def test_groups_with_settings_of_their_own_are_listed(talk):
    changed(talk, (LOCK, SET, "15000"), name="b")
    changed(talk, (LOCK, SET, "15000"), name="a")

    def listed(version, kinds=()):
        request = list_config_resources.Request(kinds)
        answer = checked(talk, 74, version, request, list_config_resources.Response)
        return [
            it.resource_name for it in answer.config_resources if it.resource_type in (0, GROUP)
        ]

    assert listed(1, [GROUP]) == ["a", "b"]
    assert listed(0) == []
