import pytest
from amqp_kit import Door


@pytest.fixture
def door(tmp_path):
    made = Door(tmp_path)
    yield made
    made.close()


@pytest.fixture
def peer(door):
    return door.open()
