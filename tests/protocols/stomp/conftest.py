import pytest
from amqp_kit import Node


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """One for all tests of a file that give each a door of its own."""
    made = Node(tmp_path_factory.mktemp("shared"))
    yield made
    made.close()
