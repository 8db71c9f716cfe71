"""franz-go, the client for Go."""

from typing import ClassVar

import pytest
from matrix_admin import Admin
from matrix_groups import Groups
from matrix_records import Records


class TestFranz(Records, Admin, Groups):
    client_name = "franz-go"


class TestNewProtocol(Groups):
    """KIP-848: the server assigns."""

    client_name = "franz-go"
    settings: ClassVar = {"protocol": "consumer"}

    @pytest.mark.xfail(
        strict=True,
        raises=AssertionError,
        reason="by KIP-848 franz-go leaves patterns to the server, which refuses them",
    )
    def test_topics_are_subscribed_to_by_a_pattern(self, client, join, topic, monkeypatch):
        monkeypatch.setattr("speaking.DEADLINE_S", 10)
        super().test_topics_are_subscribed_to_by_a_pattern(client, join, topic)


class TestRange(Groups):
    """Everything is given up before a new share is taken."""

    client_name = "franz-go"
    settings: ClassVar = {"assignor": "range"}
