"""franz-go, the client for Go."""

from typing import ClassVar

from matrix_admin import Admin
from matrix_groups import Groups
from matrix_records import Records


class TestFranz(Records, Admin, Groups):
    client_name = "franz-go"


class TestNewProtocol(Groups):
    """KIP-848: the server assigns."""

    client_name = "franz-go"
    settings: ClassVar = {"protocol": "consumer"}


class TestRange(Groups):
    """Everything is given up before a new share is taken."""

    client_name = "franz-go"
    settings: ClassVar = {"assignor": "range"}
