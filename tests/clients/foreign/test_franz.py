"""franz-go, the client for Go."""

from matrix_admin import Admin
from matrix_groups import Groups
from matrix_records import Records


class TestFranz(Records, Admin, Groups):
    client_name = "franz-go"
