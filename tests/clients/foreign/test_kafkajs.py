"""kafkajs, the client for Node.js."""

import pytest
from matrix_admin import Admin
from matrix_groups import Groups
from matrix_records import Records
from speaking import Failed


class TestKafkajs(Records, Admin, Groups):
    client_name = "kafkajs"

    @pytest.mark.xfail(
        strict=True, raises=Failed, reason="kafkajs has no consumers outside of groups"
    )
    def test_it_consumes_by_assignment(self, client, topic):
        client("create", topic=topic)
        client("assign", topic=topic)
