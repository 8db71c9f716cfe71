import pytest
from mqtt_kit import Door


@pytest.fixture
def door(tmp_path):
    made = Door(tmp_path)
    yield made
    made.close()
