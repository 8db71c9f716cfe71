"""kafkajs, the client for Node.js."""

import pytest
from matrix_admin import Admin
from matrix_groups import Groups
from matrix_records import Records
from speaking import Failed


class TestKafkajs(Records, Admin, Groups):
    client_name = "kafkajs"
