"""Apache Kafka's own client, in Java."""

from matrix_admin import Admin
from matrix_groups import Groups
from matrix_records import Records


class TestJava(Records, Admin, Groups):
    client_name = "java"
