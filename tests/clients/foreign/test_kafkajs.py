"""kafkajs, the client for Node.js."""

import pytest
from cannot import Cannot, the_step_that_fails
from matrix_admin import Admin
from matrix_groups import Groups
from matrix_records import Records


class TestKafkajs(Records, Admin, Groups):
    client_name = "kafkajs"

    @pytest.mark.xfail(
        strict=True, raises=Cannot, reason="kafkajs has no consumers outside of groups"
    )
    def test_it_consumes_by_assignment(self, client, topic):
        client("create", topic=topic)
        with the_step_that_fails():
            client("assign", topic=topic)

    @pytest.mark.xfail(
        strict=True,
        raises=Cannot,
        reason="kafkajs looks once which topics match a pattern, when it subscribes",
    )
    def test_topics_are_subscribed_to_by_a_pattern(self, client, join, topic, monkeypatch):
        only = self.subscribed_to_by_a_pattern(client, join, topic)
        monkeypatch.setattr("speaking.DEADLINE_S", 10)
        with the_step_that_fails():
            self.hears_of_another_topic(client, only, topic)
