"""What the audit log is told of Kafka's clients, and that none of them writes to it."""

import dataclasses

import pytest
from door_kit import Talk
from heard_audit import Heard
from sasl_kit import AL, PLAIN, ROOT, Stranger

from logstore.access import audit
from logstore.access.access import Access, Unkept, open_access
from logstore.access.audit import ACCESS, DONE, LOGIN, REFUSED
from logstore.access.identity import Identity, anonymous
from logstore.access.refusals import Refusals
from logstore.access.resources import ALL, CLUSTER, CLUSTER_NAME, TOPIC
from logstore.broker.coordinator.calls import OffsetCommit
from logstore.kafka.messages import (
    alter_configs,
    alter_user_scram_credentials,
    create_acls,
    create_topics,
    delete_acls,
    delete_groups,
    delete_records,
    delete_topics,
    incremental_alter_configs,
    offset_delete,
)
from logstore.kept.groups import OffsetToCommit
from logstore.kept.users import KeptAccess, KeptRule
from logstore.names import AUDIT_TOPIC

BOSS = Identity("root", "192.0.2.1", "PLAIN", "kafka")
CLERK = Identity("al", "192.0.2.1", "PLAIN", "kafka")
NOT_ALLOWED = 29


class Audited(Talk):
    """Somebody who has logged in, to a door that tells an audit."""

    def __init__(self, who=BOSS, rules=(), access=None):
        access = access or Access(Unkept(KeptAccess((ROOT, AL), rules)))
        super().__init__(access=access)
        access.audit = self.heard = Heard()
        client = self.session._client
        client.door = dataclasses.replace(
            client.door, audit=self.heard, refusals=Refusals(lambda: 0.0, self.heard)
        )
        client.become(who)
        self.session._login = None
        self.topics.create("t", 1, {})

    def told(self):
        told, self.heard[:] = list(self.heard), ()
        return told


def did(event, what):
    return event, BOSS, what, DONE


@pytest.mark.parametrize(("token", "outcome"), [(PLAIN, DONE), (b"\0al\0wrong", REFUSED)])
def test_who_logs_in_is_told_and_who_is_refused(token, outcome):
    talk, heard = Stranger(), Heard()
    client = talk.session._client
    client.door = dataclasses.replace(client.door, audit=heard)
    talk.handshake()
    if outcome == DONE:
        talk.token(token)
    else:
        talk.refused(token)
    assert heard == [(LOGIN, CLERK, "", outcome)]


def test_what_is_refused_is_told():
    talk = Audited(CLERK)
    request = delete_topics.Request(topic_names=["t"])
    assert talk.ask(20, 5, request, delete_topics.Response).responses[0].error_code == NOT_ALLOWED
    assert talk.told() == [(ACCESS, CLERK, "describe topic t", REFUSED)]


def test_topics_that_are_deleted_are_told():
    talk = Audited()
    request = delete_topics.Request(topic_names=["t", "none"])
    talk.ask(20, 5, request, delete_topics.Response)
    assert talk.told() == [did(audit.TOPIC, "deleted t")]


def test_records_that_are_deleted_are_told():
    talk = Audited()
    partitions = [delete_records.Partition(0, 0), delete_records.Partition(7, 0)]
    request = delete_records.Request([delete_records.Topic("t", partitions)])
    talk.ask(21, 2, request, delete_records.Response)
    assert talk.told() == [did(audit.RECORDS, "deleted of t-0 those before 0")]


def test_settings_of_topics_are_told():
    talk = Audited()
    config = alter_configs.AlterableConfig("retention.ms", "5")
    for validate_only in (True, False):
        resource = alter_configs.Resource(2, "t", [config])
        talk.ask(33, 2, alter_configs.Request([resource], validate_only), alter_configs.Response)
    assert talk.told() == [did(audit.SETTINGS, "of topic t: retention.ms=5")]
    m = incremental_alter_configs
    configs = [m.AlterableConfig("segment.ms", 0, "9"), m.AlterableConfig("retention.ms", 1)]
    request = m.Request([m.AlterConfigsResource(2, "t", configs)])
    talk.ask(44, 1, request, m.Response)
    assert talk.told() == [did(audit.SETTINGS, "of topic t: segment.ms=9, retention.ms by default")]
    refused = m.Request([m.AlterConfigsResource(2, "t", [m.AlterableConfig("no.such", 0, "1")])])
    talk.ask(44, 1, refused, m.Response)
    assert not talk.told()


def test_settings_of_groups_are_told_as_those_of_topics_are():
    talk = Audited()
    m = incremental_alter_configs
    configs = [
        m.AlterableConfig("share.delivery.count.limit", 0, "3"),
        m.AlterableConfig("share.isolation.level", 1),
    ]
    request = m.Request([m.AlterConfigsResource(32, "g", configs)])
    talk.ask(44, 1, request, m.Response)
    said = "of group g: share.delivery.count.limit=3, share.isolation.level by default"
    assert talk.told() == [did(audit.SETTINGS, said)]


def test_groups_and_offsets_that_are_deleted_are_told():
    talk = Audited()
    offsets = {("t", 0): OffsetToCommit(0)}
    talk.coordinator.commit(OffsetCommit("g", offsets, -1, "", None), 0, lambda _: None)
    m = offset_delete
    talk.ask(47, 0, m.Request("g", [m.Topic("t", [m.Partition(0)])]), m.Response)
    assert talk.told() == [did(audit.GROUP, "deleted the offsets of g in t")]
    talk.coordinator.commit(OffsetCommit("g", offsets, -1, "", None), 0, lambda _: None)
    talk.ask(42, 2, delete_groups.Request(["g", "none"]), delete_groups.Response)
    assert talk.told() == [did(audit.GROUP, "deleted g")]


def test_rules_and_users_that_are_changed_are_told():
    talk = Audited()
    creation = create_acls.AclCreation(2, "t", 3, "User:al", "*", 3, 3)
    talk.ask(30, 3, create_acls.Request([creation]), create_acls.Response)
    rule = "allow user al read topic:t (literal) from *"
    assert talk.told() == [did(audit.RULE, f"made {rule}")]
    request = delete_acls.Request([delete_acls.Filter(2, "t", 3, None, None, 1, 1)])
    talk.ask(31, 3, request, delete_acls.Response)
    assert talk.told() == [did(audit.RULE, f"removed {rule}")]
    m = alter_user_scram_credentials
    key = m.ScramCredentialUpsertion("al", 1, 4096, b"salt", b"salted")
    talk.ask(51, 0, m.Request((), [key]), m.Response)
    assert talk.told() == [did(audit.USER, "changed al: password")]


@pytest.mark.parametrize("users", [True, False], ids=["with users", "without users"])
def test_nobody_makes_the_audit_log(users):
    talk = Audited() if users else Audited(anonymous("192.0.2.1"), access=open_access())
    m = create_topics
    for only in (True, False):
        request = m.Request([m.CreatableTopic(AUDIT_TOPIC, 1, 1)], validate_only=only)
        assert talk.ask(19, 5, request, m.Response).topics[0].error_code == NOT_ALLOWED
    assert talk.topics.get(AUDIT_TOPIC) is None


def test_whoever_may_delete_any_topic_may_not_delete_the_audit_log():
    rules = [KeptRule("al", ALL, CLUSTER, CLUSTER_NAME), KeptRule("al", ALL, TOPIC, "*")]
    for who, code in ((CLERK, NOT_ALLOWED), (BOSS, 0)):
        talk = Audited(who, rules)
        talk.topics.create(AUDIT_TOPIC, 1, {})
        request = delete_topics.Request(topic_names=[AUDIT_TOPIC])
        answer = talk.ask(20, 5, request, delete_topics.Response)
        assert answer.responses[0].error_code == code
